"""Runs activities as Temporal would, without its server and without real time."""

import contextvars
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.clients import ClusterClients
from activities.errors import InvalidSpec, Transient
from activities.kube.base import Manifest


class Killed(BaseException):
    """The worker dies at this point."""


def raising(error: BaseException) -> Callable[[], None]:
    """A hook for the cloud in memory."""

    def hook() -> None:
        raise error

    return hook


class Runner:
    """Retries what is transient, as the server does; the delays it would have kept add up in `took`."""

    def __init__(self) -> None:
        self.took = timedelta()
        self.attempts = 0

    def __call__(self, activity: Callable[[Any], Any], request: Any, most: int = 60) -> Any:
        self.took, self.attempts = timedelta(), 0
        while True:
            self.attempts += 1
            try:
                return self.once(activity, request, self.took.total_seconds(), self.attempts)
            except Transient as error:
                if self.attempts >= most:
                    raise
                self.took += error.retry_after or timedelta(seconds=1)

    @staticmethod
    def once(
        activity: Callable[[Any], Any], request: Any, since_seconds: float = 0.0, attempt: int = 1
    ) -> Any:
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(
            ActivityEnvironment.default_info(),
            attempt=attempt,
            scheduled_time=datetime.now(UTC) - timedelta(seconds=since_seconds),
        )
        # A context of its own: what other tests in this process set (when an attempt began) is not this one's.
        return contextvars.Context().run(environment.run, activity, request)


class FakeVolumesOfKubernetes:
    """Knows PersistentVolumes and nothing else."""

    def __init__(self) -> None:
        self.handles: list[str] = []

    def list(
        self, kind: str, namespace: str | None = None, labels: dict[str, str] | None = None
    ) -> list[Manifest]:
        assert (kind, namespace, labels) == ("PersistentVolume", None, None)
        return [{"spec": {"csi": {"volumeHandle": handle}}} for handle in self.handles]


class OneCluster:
    def __init__(self, cloud: Any, kube: Any) -> None:
        self._clients = ClusterClients(
            name="prod",
            cloud_name="aws",
            region="us-east-1",
            account="111122223333",
            kube=kube,
            cloud=cloud,
            zones=["us-east-1a"],
            retention_seconds=604_800,
            csi_driver="ebs.csi.aws.com",
            storage_class="gp3",
        )

    def get(self, name: str) -> ClusterClients:
        if name != "prod":
            raise InvalidSpec(f"no cluster named {name!r}; known: prod")
        return self._clients

    def names(self) -> list[str]:
        return ["prod"]
