"""What can be asked of Supergiant: start an operation, look at it, say something to it, ask the worker a
question.

The only user of the Temporal client for requests; the CLI and later doors call nothing else. Every failure
is an OperationFailed that says what happened and what to do.
"""

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.models import search_attributes
from starter.answers import ANSWER_WITHIN, Answers, NobodyHears
from starter.connecting import explained
from starter.failures import BAD_REQUEST, REFUSED, OperationFailed
from starter.listing import OPERATION_WORKFLOW, Listing
from starter.snapshots import Snapshot
from starter.watching import Watcher, worker_seen_at
from workflows.connection import TASK_QUEUE
from workflows.ids import operation_workflow_id
from workflows.models.operations import (
    Approve,
    Cancel,
    ComponentRun,
    OperationRecord,
    OperationRequest,
    OperationState,
    Reject,
)
from workflows.models.questions import Question
from workflows.models.steps import Decide, StoryState

T = TypeVar("T", bound=BaseModel)

#: How often a watched operation is looked at.
WATCH_INTERVAL = timedelta(seconds=0.4)


class Operations(Listing):
    def __init__(self, client: Client, say: Callable[[str], None], task_queue: str = TASK_QUEUE) -> None:
        super().__init__(client, say)
        self._task_queue = task_queue
        self._answers = Answers(client, task_queue, say)

    async def start(self, request: OperationRequest) -> bool:
        """Start it, or find that the very same request was started before under this id: then False."""
        with explained(self._client, f"ask again with --id {request.id}; it is started only once"):
            try:
                await self._client.start_workflow(
                    OPERATION_WORKFLOW,
                    request,
                    id=operation_workflow_id(request.id),
                    task_queue=self._task_queue,
                    # A worker that dies while it decides is noticed after this; deciding takes milliseconds.
                    task_timeout=timedelta(seconds=5),
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                    memo={"request_hash": _hash_of(request)},
                    search_attributes=_attributes(request),
                    static_summary=f"{request.kind} {request.app} on {request.cluster}",
                )
                return True
            except WorkflowAlreadyStartedError:
                await self.known(request)
                return False

    async def known(self, request: OperationRequest) -> bool:
        """Whether the very same request was asked for under this id; that another one was is refused."""
        with explained(self._client):
            try:
                described = await self._outer(request.id).describe()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in error.message:
                    raise
                return False
            if await described.memo_value("request_hash", "") == _hash_of(request):
                return True
        raise OperationFailed(
            BAD_REQUEST,
            f"operation id {request.id!r} was used for another request",
            f"`supergiant op show {request.id}` shows it; give another --id, or none",
        )

    async def get(self, operation: str) -> OperationRecord:
        return (await self.look(operation)).record

    async def look(self, operation: str) -> Snapshot:
        """The operation as it stands now, with the progress of its components and what its activities do."""
        return await Watcher(self._client, operation, self._task_queue).look()

    async def watch(self, operation: str, interval: timedelta = WATCH_INTERVAL) -> AsyncIterator[Snapshot]:
        """Look until it ends or stands still, whatever dies meanwhile; the last snapshot is the end."""
        watcher = Watcher(self._client, operation, self._task_queue)
        silent = stood_still = False
        while True:
            try:
                snapshot = await watcher.look()
            except OperationFailed as failure:
                if not isinstance(failure.__cause__, RPCError):
                    raise
                if not silent:
                    self._say(f"{failure.message}; the operation is not affected, looking again")
                silent = True
            else:
                silent = False
                yield snapshot
                # Seen twice: a step that parks while another is being aborted parks for a moment only.
                if snapshot.ended or (snapshot.stands_still and stood_still):
                    return
                stood_still = snapshot.stands_still
                # Many components are many questions to the server, so they are asked less often.
                interval = max(interval, timedelta(seconds=0.05 * len(snapshot.components)))
            await asyncio.sleep(interval.total_seconds())

    async def approve(self, operation: str, approve: Approve) -> str:
        asked = await self.get(operation)
        stale = asked.plan is not None and asked.plan.hash != approve.plan_hash and approve.reason.strip()
        if asked.state is OperationState.WAITING_FOR_APPROVAL and asked.plan and stale:
            # An approval of an earlier plan, said again, must not be answered with what was said to it then.
            raise OperationFailed(
                REFUSED,
                f"plan hash {approve.plan_hash} is not that of the plan in question ({asked.plan.hash}); "
                "look at it again",
                f"`supergiant op show {operation}` shows it",
            )
        answer = str(await self._tell(operation, "approve", approve))
        record = await self.get(operation)
        if _still_wanted(record, approve):
            # The answer was that to an approval that became void since, and this is the next occasion.
            occasion = str(await self._said_before(self._outer(operation)))
            answer = str(await self._tell(operation, "approve", approve, occasion))
        return answer

    async def reject(self, operation: str, reject: Reject) -> str:
        return str(await self._tell(operation, "reject", reject))

    async def cancel(self, operation: str, cancel: Cancel) -> str:
        snapshot = await self.look(operation)
        if snapshot.orphaned and not snapshot.ended:
            return await self._cancel_components(snapshot, cancel)
        return str(await self._tell(operation, "cancel", cancel))

    async def decide(self, operation: str, decide: Decide) -> list[str]:
        """Tell every component that has parked, or only the one with the step; returns the steps' titles."""
        snapshot = await self.look(operation)
        parked = [(c, s) for c, s in snapshot.parked if decide.step in (None, s.step.id)]
        if not parked and snapshot.note and not snapshot.ended:
            raise OperationFailed(
                BAD_REQUEST, f"nobody can say what has parked: {snapshot.note}", "nothing was said"
            )
        if not parked:
            what = f"step {decide.step!r} is not parked" if decide.step else "nothing is parked"
            stands = f"operation {operation} is {snapshot.record.state.value}"
            raise OperationFailed(REFUSED, f"{what}; {stands}")
        titles: list[str] = []
        for run in snapshot.components:
            if run.component in {component for component, _ in parked}:
                titles += await self._decide(operation, run, decide)
        return titles

    async def ask(self, activity: str, argument: BaseModel, answer: type[T]) -> T:
        """Ask the worker to look something up: it holds the credentials."""
        question = Question(activity=activity, argument=argument.model_dump(mode="json"))
        with explained(self._client):
            handle = await self._client.start_workflow(
                "question",
                question,
                id=f"ask/{uuid.uuid4()}",
                task_queue=self._task_queue,
                # It changes nothing, so unlike an operation it may simply end when nobody waits any more.
                execution_timeout=ANSWER_WITHIN,
                result_type=answer,
            )
            try:
                return await self._answers.wait(handle.result())
            except WorkflowFailureError as failure:
                raise _no_answer(failure) from failure

    async def export(self, operation: str) -> dict[str, Any]:
        """Everything about it: the record, and the histories of its workflows as Temporal keeps them."""
        snapshot = await self.look(operation)
        histories = {}
        with explained(self._client):
            for run in [None, *snapshot.record.components]:
                handle = (
                    self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
                    if run and run.run_id
                    else self._outer(operation)
                )
                histories[handle.id] = (await handle.fetch_history()).to_json_dict()["events"]
        return {"operation": snapshot.whole_record.model_dump(mode="json"), "histories": histories}

    async def worker_there(self) -> bool:
        """Whether a worker has asked for work lately."""
        with explained(self._client):
            return await worker_seen_at(self._client, self._task_queue) is not None

    async def address(self) -> str:
        """Where Temporal is, and the namespace in use there; fails when the namespace is not there."""
        with explained(self._client):
            await self._client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=self._client.namespace)
            )
        return f"{self._client.service_client.config.target_host}, namespace {self._client.namespace}"

    async def missing_search_attributes(self, wanted: Mapping[str, str]) -> list[str]:
        """Those of `wanted` (name to type) that the namespace lacks, or has with another type."""
        with explained(self._client):
            answer = await self._client.operator_service.list_search_attributes(
                ListSearchAttributesRequest(namespace=self._client.namespace)
            )
        have = {name: IndexedValueType.Name(value) for name, value in answer.custom_attributes.items()}
        prefix = "INDEXED_VALUE_TYPE_"
        return [
            name
            for name, kind in wanted.items()
            if have.get(name, "").removeprefix(prefix).replace("_", "").lower() != kind.lower()
        ]

    def _outer(self, operation: str) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(operation_workflow_id(operation))

    async def _tell(self, operation: str, update: str, message: BaseModel, occasion: str = "") -> Any:
        try:
            return await self._answers.tell(self._outer(operation), operation, update, message, occasion)
        except NobodyHears:
            snapshot = await self.look(operation)
        if not snapshot.ended:
            raise OperationFailed(
                REFUSED,
                f"operation {operation} cannot be told this any more: its own workflow was ended by force",
                "cancel it, or decide about what has parked",
            )
        state = snapshot.record.state.value
        raise OperationFailed(REFUSED, f"operation {operation} has ended already: {state}")

    async def _decide(self, operation: str, run: ComponentRun, decide: Decide) -> list[str]:
        inner = self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
        # Two retries on purpose have something decided between them, one that is only said again has not.
        occasion = str(await self._said_before(inner))
        try:
            titles: list[str] = await self._answers.tell(inner, operation, "decide", decide, occasion)
            return titles
        except NobodyHears:
            raise OperationFailed(REFUSED, f"component {run.component} has ended meanwhile") from None

    async def _said_before(self, handle: WorkflowHandle[Any, Any]) -> int:
        """How much the workflow has accepted of what it was told so far."""
        accepted = "workflow_execution_update_accepted_event_attributes"
        with explained(self._client):
            return len([event async for event in handle.fetch_history_events() if event.HasField(accepted)])  # type: ignore[arg-type]

    async def _cancel_components(self, snapshot: Snapshot, cancel: Cancel) -> str:
        """Cancel what an operation that was ended by force has left under way."""
        told = []
        for run in snapshot.components:
            if run.state != StoryState.RUNNING.value:
                continue
            inner = self._client.get_workflow_handle(run.workflow_id, run_id=run.run_id)
            progress = snapshot.progress.get(run.component)
            with explained(self._client, f"`supergiant op show {snapshot.record.id}` shows whether it did"):
                if progress and progress.no_way_back:
                    # It rolls forward, and then would wait for ever to be told that all others are done.
                    await inner.signal("settle")
                    told.append(f"{run.component} is past the point of no return and rolls forward")
                elif progress and progress.state is StoryState.PARKED:
                    told.append(
                        f"{run.component} undoes it already and has parked: retry, or skip what is left"
                    )
                else:
                    await inner.cancel(reason=f"{cancel.by}: {cancel.reason}".removesuffix(": "))
                    told.append(f"{run.component} undoes what it did")
        return "; ".join(told)


def _still_wanted(record: OperationRecord, approve: Approve) -> bool:
    approval, plan = record.approval, record.plan
    waits = record.state is OperationState.WAITING_FOR_APPROVAL and plan is not None
    return bool(waits and plan and plan.hash == approve.plan_hash and approval and not approval.granted_by)


def _hash_of(request: OperationRequest) -> str:
    """Names what the user asked for. What was agreed to on the way is left out, and so is every default, so that
    a newer version that knows more fields finds the request to be the same."""
    given = request.model_dump(mode="json", exclude={"agreed"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


def _attributes(request: OperationRequest) -> TypedSearchAttributes:
    words = {
        search_attributes.KIND: request.kind.value,
        search_attributes.STATE: "planning",
        search_attributes.CLUSTER: request.cluster,
        search_attributes.APP: request.app,
        search_attributes.TENANT: request.tenant,
        search_attributes.REQUESTER: request.requester,
    }
    components = SearchAttributeKey.for_keyword_list(search_attributes.COMPONENTS)
    return TypedSearchAttributes(
        [
            *(SearchAttributePair(SearchAttributeKey.for_keyword(k), v) for k, v in words.items()),
            SearchAttributePair(components, _components(request)),
        ]
    )


def _components(request: OperationRequest) -> list[str]:
    if request.deploy is not None:
        return [component.name for component in request.deploy.app.components]
    return request.delete.components if request.delete is not None else []


def _no_answer(failure: WorkflowFailureError) -> OperationFailed:
    cause = failure.cause
    if isinstance(cause, ApplicationError):
        helps = [str(d["help"]) for d in cause.details if isinstance(d, dict) and d.get("help")]
        return OperationFailed(BAD_REQUEST, cause.message, helps[0] if helps else "")
    return OperationFailed(
        BAD_REQUEST, "no worker answered in time", "is one running? `supergiant doctor` tells"
    )
