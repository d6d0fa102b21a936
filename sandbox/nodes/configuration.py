"""The configuration files of one node's programs: pure functions of its plan.

Its first process writes them at every start, so a new version of the sandbox needs no migration of old ones.
"""

import json

import yaml

from sandbox.nodes.plan import NodePlan

CNI_FOLDER = "/run/cni"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
# Built here and loaded on every node: no registry knows this name.
PAUSE_IMAGE = "sandbox.supergiant/pause:1"
CLUSTER_DOMAIN = "cluster.local"
CSI_SOCKET = "/var/lib/kubelet/plugins/ebs.csi.aws.com/csi.sock"
CSI_REGISTRATION = "/var/lib/kubelet/plugins_registry/ebs.csi.aws.com-reg.sock"
_CNI_PROGRAMS = "/usr/lib/cni"


def containerd_toml() -> str:
    """All that is not said is containerd's default."""
    return f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  # On a machine without CAP_SYS_RESOURCE no pod could start otherwise.
  restrict_oom_score_adj = true
  sandbox_image = "{PAUSE_IMAGE}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_CNI_PROGRAMS}"
    conf_dir = "{CNI_FOLDER}"
"""


def cni_json(plan: NodePlan) -> str:
    """The network of the node's pods."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "isDefaultGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": plan.network.pods_of(plan.number)}]],
            # In memory: after a power loss the addresses of the dead pods are free again.
            "dataDir": "/run/cni-addresses",
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}, indent=2)


def kubelet_yaml(plan: NodePlan) -> str:
    """What differs from a kubelet's defaults, and why."""
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "providerID": f"aws:///{plan.zone}/{plan.instance_id}",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{plan.certificates}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        # All nodes share the machine's cgroups: each keeps to a place of its own.
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{plan.network.cgroup(plan.number)}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # Images were loaded from files: once removed they could not be had again.
        "imageGCHighThresholdPercent": 100,
        # The disk and memory are the machine's; pods are evicted only when that is really at its end.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        # The default of a minute would let what is measured lag behind what a test has just done.
        "volumeStatsAggPeriod": "5s",
        # A pod's disk is mounted once the node has said that it wants it, and grown when the pod is next looked at: by
        # default after up to ten seconds and up to a minute and a half.
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "10s",
        # The default lies outside the node's own folder.
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "clusterDomain": CLUSTER_DOMAIN,
        "clusterDNS": [plan.network.host],
        "resolvConf": "/run/resolv.conf",
    }
    return yaml.safe_dump(settings, sort_keys=False)


def kubeconfig(plan: NodePlan) -> str:
    """The API server over the gateway on the bridge."""
    certificates = plan.certificates
    cluster = {
        "server": f"https://{plan.network.host}:{plan.kube_port}",
        "certificate-authority": f"{certificates}/ca.crt",
        # The certificate was made before the bridge: it does not know the gateway's address.
        "tls-server-name": "localhost",
    }
    user = {"client-certificate": f"{certificates}/admin.crt", "client-key": f"{certificates}/admin.key"}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": cluster}],
            "users": [{"name": "node", "user": user}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "node"}}],
            "current-context": "sandbox",
        }
    )


def kubelet_arguments(plan: NodePlan) -> list[str]:
    """What cannot be said in its file."""
    labels = {
        "node.kubernetes.io/instance-type": plan.instance_type,
        "topology.kubernetes.io/region": plan.region,
        "topology.kubernetes.io/zone": plan.zone,
    }
    return [
        plan.kubelet,
        f"--kubeconfig={plan.node_kubeconfig}",
        "--config=/run/kubelet.yaml",
        f"--hostname-override={plan.name}",
        f"--node-ip={plan.address}",
        "--node-labels=" + ",".join(f"{name}={value}" for name, value in labels.items()),
    ]


def kube_proxy_arguments(plan: NodePlan) -> list[str]:
    """The zeros keep it from settings that belong to the whole machine."""
    return [
        plan.kube_proxy,
        f"--kubeconfig={plan.node_kubeconfig}",
        f"--hostname-override={plan.name}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={plan.network.pods}",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]
