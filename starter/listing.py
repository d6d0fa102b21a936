"""Lists of operations, from search attributes alone: one request, however many operations there are.

`op list` uses this without the rest of `operations`, so it imports no models and no pydantic.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from activities.models.search_attributes import APP, CLUSTER, COMPONENTS, KIND, REQUESTER, STATE
from starter.connecting import explained
from starter.failures import BAD_REQUEST, OperationFailed

OPERATION_WORKFLOW = "operation"

#: Where the operation itself cannot say any more how it ended.
ENDED_BY_FORCE = "ended by force"


@dataclass(frozen=True)
class OperationRow:
    id: str
    kind: str
    state: str
    cluster: str
    app: str
    components: tuple[str, ...]
    requester: str
    asked_at: datetime
    ended_at: datetime | None

    def as_json(self) -> dict[str, object]:
        times = {
            "asked_at": self.asked_at.isoformat(),
            "ended_at": self.ended_at and self.ended_at.isoformat(),
        }
        return {**asdict(self), **times}


class Listing:
    """What can be asked about operations without asking them. `say` gets notes for whoever waits."""

    def __init__(self, client: Client, say: Callable[[str], None]) -> None:
        self._client = client
        self._say = say

    async def list_operations(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        cluster: str | None = None,
        app: str | None = None,
        limit: int = 50,
    ) -> list[OperationRow]:
        """The newest operations that match, newest first."""
        wanted = {STATE: state, KIND: kind, CLUSTER: cluster, APP: app}
        query = " AND ".join(
            [
                f"WorkflowType = '{OPERATION_WORKFLOW}'",
                *(f"{k} = '{_safe(v)}'" for k, v in wanted.items() if v),
            ]
        )
        rows = []
        with explained(self._client):
            async for execution in self._client.list_workflows(
                query, limit=limit, page_size=min(limit, 1000)
            ):
                rows.append(_row(execution))
        return sorted(rows, key=lambda row: row.asked_at, reverse=True)


def _row(execution: WorkflowExecution) -> OperationRow:
    attributes = execution.typed_search_attributes

    def word(name: str) -> str:
        return attributes.get(SearchAttributeKey.for_keyword(name)) or ""

    by_force = execution.status not in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED)
    return OperationRow(
        id=execution.id.removeprefix("op/"),
        kind=word(KIND),
        state=ENDED_BY_FORCE if by_force else word(STATE),
        cluster=word(CLUSTER),
        app=word(APP),
        components=tuple(attributes.get(SearchAttributeKey.for_keyword_list(COMPONENTS)) or ()),
        requester=word(REQUESTER),
        asked_at=execution.start_time,
        ended_at=execution.close_time,
    )


def _safe(value: str) -> str:
    if "'" in value or "\\" in value:
        raise OperationFailed(
            BAD_REQUEST, f"{value!r} cannot be looked for; leave out quotes and backslashes"
        )
    return value
