"""A cluster as the settings name it, and the answers of `cluster list` and `cluster check`."""

from pathlib import Path

from activities.models.common import Message


class AwsSettings(Message):
    """How an AWS account and region is reached. `credentials_file` and `profile` go before what the
    environment offers; `endpoint_url` is for anything that speaks AWS's protocol in its place."""

    region: str
    endpoint_url: str = ""
    profile: str = ""
    credentials_file: Path | None = None
    prices_file: Path | None = None


class ClusterSummary(Message):
    """`problem`: why its clients cannot even be made; then the other fields are empty."""

    name: str
    cloud: str
    region: str
    account: str
    zones: list[str]
    problem: str = ""


class Check(Message):
    """One thing that was looked at; `help` says what to do when it is not ok."""

    name: str
    ok: bool
    detail: str = ""
    help: str = ""


class ClusterReport(Message):
    cluster: str
    checks: list[Check]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)
