"""What a run that nobody disturbed did and left: the measure of all that are disturbed, made once a session."""

from dataclasses import dataclass

from sandbox.kubernetes.api import Json
from tests.e2e.pictures import final_state
from tests.e2e.stage import Stage, small_app
from tests.e2e.stops import Point, StepGate, When, all_reached
from tests.e2e.victims import INSTANCES
from workflows.models.operations import Cancel, OperationState


@dataclass(frozen=True)
class Undisturbed:
    """`points` are every change that each step made, `undo_points` those of the undo of all steps."""

    planned: list[str]
    points: list[Point]
    undo_points: list[Point]
    state: Json


async def follow(stage: Stage) -> Undisturbed:
    """Deploy an app, follow it through the proxies, and look at what it left; then one that is undone."""
    gate = StepGate(stage.bench)
    stage.gated(gate)
    gate.follow("calm")
    operation = await stage.bench.deploy(small_app("calm", INSTANCES), "deploy-calm")
    record = await stage.bench.ended(operation)
    assert record.state is OperationState.SUCCEEDED, record.explanation
    assert record.plan is not None
    points, state = gate.points("calm"), final_state(stage.sandbox, "calm", operation)
    await stage.clear("calm")
    # Cancelled at its very last step, so that every step has something to undo.
    stop = gate.stop("calmly-undone", points[-1], When.AFTER)
    operation = await stage.bench.deploy(small_app("calmly-undone", INSTANCES), "deploy-calmly-undone")
    await all_reached([stop])
    gate.follow("calmly-undone")
    await stage.bench.operations.cancel(operation, Cancel(by="tester"))
    stop.release()
    assert (await stage.bench.ended(operation)).state is OperationState.UNDONE
    planned = [step.id for step in record.plan.steps]
    undo_points = [point for point in gate.points("calmly-undone") if point.step.endswith("/undo")]
    return Undisturbed(planned, points, undo_points, state)
