"""The programs a sandbox is made of, from the pinned Go module beside this file; the name server has its own.

The finder, the builder and the downloader ask here for names, packages and the key of the cache.
"""

import hashlib
import platform
from pathlib import Path

KUBERNETES_VERSION = "v1.37.2"
KWOK_VERSION = "v0.8.0"
MODULE_FILES = (Path(__file__).parent / "go.mod", Path(__file__).parent / "go.sum")

# What a sandbox runs. One module, so that all of them share one compiled client-go.
CONTROL_PLANE = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "kwokctl": "sigs.k8s.io/kwok/cmd/kwokctl",
    "csi-attacher": "github.com/kubernetes-csi/external-attacher/v4/cmd/csi-attacher",
    "csi-resizer": "github.com/kubernetes-csi/external-resizer/v2/cmd/csi-resizer",
}
# Only for real nodes: built when asked for.
REAL_NODES = {
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
}
# It needs other versions of Kubernetes' libraries than Kubernetes does: one module cannot hold both.
NAME_SERVER = {"coredns": "github.com/coredns/coredns"}
NAME_SERVER_FILES = tuple(
    Path(__file__).parent.parent / "nodes/coredns" / name for name in ("go.mod", "go.sum")
)
PACKAGES = CONTROL_PLANE | REAL_NODES | NAME_SERVER

BUILD_FLAGS = (
    "-trimpath",
    "-ldflags",
    "-s -w "
    f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION} "
    "-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37 "
    f"-X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION} "
    f"-X sigs.k8s.io/kwok/pkg/consts.Version={KWOK_VERSION}",
)


def version_arguments(program: str) -> tuple[str, ...]:
    """How a program is asked for its version."""
    return ("version", "--client") if program == "kubectl" else ("--version",)


def machine() -> str:
    """The machine as Go names it, such as linux-amd64."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{platform.system().lower()}-{architecture}"


def module_files(program: str) -> tuple[Path, ...]:
    """The pinned module that a program is built from."""
    return NAME_SERVER_FILES if program in NAME_SERVER else MODULE_FILES


def cache_key(program: str = "etcd") -> str:
    """Names the cache folder of a program: another module, flag or machine is another folder."""
    digest = hashlib.sha256()
    for path in module_files(program):
        digest.update(path.read_bytes())
    digest.update("\0".join((*BUILD_FLAGS, machine())).encode())
    return digest.hexdigest()[:16]
