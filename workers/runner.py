"""The workflow runner that workers, tests and replays share: sandbox on, only decisions re-imported."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from workflows.delete_component import DeleteComponentWorkflow
from workflows.deploy_component import DeployComponentWorkflow
from workflows.operation import OperationWorkflow
from workflows.question import QuestionWorkflow
from workflows.sweep import SweepWorkflow

WORKFLOWS = [
    DeleteComponentWorkflow,
    DeployComponentWorkflow,
    OperationWorkflow,
    QuestionWorkflow,
    SweepWorkflow,
]


def workflow_runner() -> SandboxedWorkflowRunner:
    """Models and activity signatures pass through, so that their classes are the same on both sides and are
    not loaded again for every run; what decides is loaded afresh and guarded."""
    restrictions = SandboxRestrictions.default.with_passthrough_modules(
        "activities", "annotated_types", "pydantic", "pydantic_core", "workflows.models", "yaml"
    )
    return SandboxedWorkflowRunner(restrictions=restrictions)
