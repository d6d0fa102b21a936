"""Whether a cluster has all that deploys need: `cluster check`, `doctor`. Looks only, and never raises."""

from collections.abc import Callable

from activities.clients import ClusterClients
from activities.errors import SupergiantError
from activities.kube import reading
from activities.models.clusters import Check

_GUIDE = "see docs/guides/your-own-kubernetes.md"


def check_cluster(clients: ClusterClients) -> list[Check]:
    """The server first: when it does not answer, nothing else of it is asked, so the report comes quickly."""
    server = _checked("Kubernetes API", _server, clients)
    checks = [server, _checked("cloud account", _account, clients)]
    if not server.ok:
        return checks
    looks: list[tuple[str, Callable[[ClusterClients], Check]]] = [
        ("permissions", _permissions),
        ("zones", _zones),
        ("CSI driver", _csi_driver),
        ("storage class", _storage_class),
    ]
    return checks + [_checked(name, look, clients) for name, look in looks]


def _checked(name: str, look: Callable[[ClusterClients], Check], clients: ClusterClients) -> Check:
    try:
        return look(clients)
    except SupergiantError as error:
        return Check(name=name, ok=False, detail=str(error), help=error.help)


def _server(clients: ClusterClients) -> Check:
    version = clients.kube.server_version()
    return Check(name="Kubernetes API", ok=True, detail=f"version {version}")


def _account(clients: ClusterClients) -> Check:
    account = clients.checked_account()
    return Check(name="cloud account", ok=True, detail=f"{clients.cloud_name} account {account}")


def _permissions(clients: ClusterClients) -> Check:
    missing = clients.kube.missing_permissions()
    if missing:
        return Check(
            name="permissions",
            ok=False,
            detail=f"the credentials may not {', '.join(missing)}",
            help=f"{_GUIDE} for the role to bind",
        )
    return Check(name="permissions", ok=True, detail="all that are needed are granted")


def _zones(clients: ClusterClients) -> Check:
    limits = {csi_node["metadata"]["name"]: csi_node for csi_node in clients.kube.list("CSINode")}
    usable: dict[str, int] = dict.fromkeys(clients.zones, 0)
    without_driver = []
    for node in clients.kube.list("Node"):
        name = node["metadata"]["name"]
        facts = reading.node_facts(node, limits.get(name), [], 0, clients.csi_driver)
        if facts.zone not in usable or not facts.schedulable:
            continue
        if facts.attach_limit:
            usable[facts.zone] += 1
        else:
            without_driver.append(name)
    empty = [zone for zone, nodes in usable.items() if not nodes]
    if empty:
        detail = f"no node that takes pods and disks in {', '.join(empty)}"
        if without_driver:
            detail += f"; the CSI driver does not run on {', '.join(sorted(without_driver)[:5])}"
        return Check(
            name="zones",
            ok=False,
            detail=detail,
            help="add nodes to these zones, or take the zones out of the settings",
        )
    detail = ", ".join(f"{zone}: {nodes} nodes" for zone, nodes in usable.items())
    return Check(name="zones", ok=True, detail=detail.replace(": 1 nodes", ": 1 node"))


def _csi_driver(clients: ClusterClients) -> Check:
    name = clients.csi_driver
    driver = clients.kube.get("CSIDriver", name)
    if driver is None:
        return Check(
            name="CSI driver", ok=False, detail=f"{name} is not installed", help=f"install it; {_GUIDE}"
        )
    if driver["spec"].get("attachRequired") is False:
        return Check(
            name="CSI driver",
            ok=False,
            detail=f"{name} is registered without attachments, so nobody would attach the disks",
            help="install the driver as its own documentation says",
        )
    return Check(name="CSI driver", ok=True, detail=name)


def _storage_class(clients: ClusterClients) -> Check:
    name = clients.storage_class
    found = clients.kube.get("StorageClass", name)
    wrong = ""
    if found is None:
        wrong = f"there is no storage class {name}"
    elif found.get("provisioner") != clients.csi_driver:
        wrong = f"storage class {name} is of {found.get('provisioner')}, not of {clients.csi_driver}"
    elif not found.get("allowVolumeExpansion"):
        wrong = f"storage class {name} does not allow volumes to be expanded"
    return Check(
        name="storage class",
        ok=not wrong,
        detail=wrong or f"{name}, expandable",
        help=f"{_GUIDE} for a class that works" if wrong else "",
    )
