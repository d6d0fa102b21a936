"""The activities over a sandbox: a real Kubernetes control plane, with disks of the simulated AWS."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from activities.clients import ClusterClients
from activities.errors import NotReadyYet
from activities.kube.client import KubeClient
from activities.kube.rbac import cluster_role
from activities.models.settings import load
from workers.assembly import ConfiguredClusters

_numbers = itertools.count(1)

Until = Callable[[Callable[[Any], Any], Any], Any]


@pytest.fixture(scope="session")
def clusters(sandbox: Any) -> ConfiguredClusters:
    return ConfiguredClusters(load(Path(sandbox.settings_path), env={}))


@pytest.fixture(scope="session")
def clients(clusters: ConfiguredClusters) -> ClusterClients:
    return clusters.get(clusters.names()[0])


@pytest.fixture
def app(clients: ClusterClients) -> Iterator[str]:
    """A name that no other test uses; its namespace goes away afterwards, without waiting for it."""
    name = f"kube-{next(_numbers)}-{time.time_ns() % 10**6}"
    yield name
    clients.kube.delete("Namespace", name)


@pytest.fixture
def until() -> Until:
    """Run an activity until it is done, at its own pace, as Temporal would."""

    def run(activity: Callable[[Any], Any], request: Any) -> Any:
        deadline = time.monotonic() + 60
        while True:
            try:
                return activity(request)
            except NotReadyYet as error:
                if time.monotonic() > deadline:
                    raise
                time.sleep(error.retry_after.total_seconds() if error.retry_after else 1)

    return run


class Admin:
    """Requests that the product itself never makes, with the administrator's kubeconfig."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        code, _, answer = self._kube._ask("POST", "set up a test", path, None, body)
        assert code in (200, 201), answer
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def delete(self, path: str) -> None:
        self._kube._ask("DELETE", "clean up a test", path)

    def patch(self, path: str, body: dict[str, Any]) -> None:
        kind = "application/merge-patch+json"
        code, _, answer = self._kube._ask("PATCH", "set up a test", path, None, body, kind)
        assert code == 200, answer


@pytest.fixture
def admin(clients: ClusterClients) -> Admin:
    assert isinstance(clients.kube, KubeClient)
    return Admin(clients.kube)


@pytest.fixture
def limited(sandbox: Any, admin: Admin, tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig of an account that has the documented cluster role and nothing else; named as its role."""
    name = f"supergiant-{time.time_ns()}"
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    role = cluster_role()
    role["metadata"]["name"] = name
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    }
    admin.post(accounts, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    admin.post(f"{rbac}/clusterroles", role)
    admin.post(f"{rbac}/clusterrolebindings", binding)
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = admin.post(f"{accounts}/{name}/token", asked)["status"]["token"]
    document = yaml.safe_load(Path(sandbox.kubeconfig).read_text())
    for user in document["users"]:
        user["user"] = {"token": token}
    kubeconfig = tmp_path / name
    kubeconfig.write_text(yaml.safe_dump(document))
    yield kubeconfig
    admin.delete(f"{rbac}/clusterrolebindings/{name}")
    admin.delete(f"{rbac}/clusterroles/{name}")
    admin.delete(f"{accounts}/{name}")
