"""The clusters a worker serves, each with the clients that reach it: what every activity class is given.

The real registry is built by `workers.assembly` from the settings; tests build their own over fakes.
"""

from dataclasses import dataclass, field
from typing import Protocol

from activities.clouds.base import Cloud
from activities.errors import AccessDenied
from activities.kube.base import Kube


@dataclass(frozen=True, kw_only=True)
class ClusterClients:
    """One cluster of the settings. `account` is the cloud account that its credentials must belong to."""

    name: str
    cloud_name: str
    region: str
    account: str
    kube: Kube = field(repr=False)
    cloud: Cloud = field(repr=False)
    zones: list[str]
    retention_seconds: int
    csi_driver: str
    storage_class: str

    def checked_account(self) -> str:
        """The account that the credentials belong to; AccessDenied when the settings say another."""
        account = self.cloud.account()
        if self.account and account != self.account:
            raise AccessDenied(
                f"the credentials belong to account {account}, the settings say {self.account}",
                help="correct `account` of this cluster, or give it the right credentials",
            )
        return account


class Clusters(Protocol):
    def get(self, name: str) -> ClusterClients:
        """The clients of one cluster; InvalidSpec, naming the known ones, when the settings lack it."""
        ...

    def names(self) -> list[str]: ...
