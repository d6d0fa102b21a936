"""The policy: which operations need an approval, by whom and for how long it lives, and which are refused.

Read by the worker from a small TOML file; decided by a pure function in `workflows.policy`.
"""

from typing import Literal

from pydantic import Field, field_validator

from activities.models.common import Document
from activities.models.quantities import seconds


class Rule(Document):
    """A rule applies to an operation when every selector matches (empty: all), and then when any of its
    thresholds is reached; a rule without thresholds always does."""

    name: str
    action: Literal["approve", "refuse"] = "approve"
    kinds: list[str] = []
    clusters: list[str] = []
    apps: list[str] = []
    tenants: list[str] = []
    disk_gib_at_least: int | None = Field(None, ge=1)
    cost_increase_at_least: float | None = Field(None, ge=0)
    instances_at_least: int | None = Field(None, ge=1)
    approvers: list[str] = []
    not_requester: bool = False
    approval_lives: str = "24h"

    @field_validator("approval_lives")
    @classmethod
    def _readable(cls, value: str) -> str:
        seconds(value)
        return value


class Policy(Document):
    rules: list[Rule] = []


class ReadPolicy(Document):
    """Asks the worker for the policy in force."""

    cluster: str
