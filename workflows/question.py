"""Asks a reading activity on behalf of the CLI, which holds no credentials and imports no cloud's SDK."""

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from workflows.explain import explain, help_of
from workflows.models.questions import Question
from workflows.patience import LOOK

#: The activities that may be asked for; all of them only read.
READERS = frozenset({"view-apps", "list-clusters", "check-cluster"})


@workflow.defn(name="question")
class QuestionWorkflow:
    @workflow.run
    async def run(self, question: Question) -> Any:
        if question.activity not in READERS:
            raise ApplicationError(f"{question.activity!r} is not a question", non_retryable=True)
        try:
            return await workflow.execute_activity(question.activity, question.argument, **LOOK)
        except ActivityError as failure:
            raise ApplicationError(
                explain(failure), {"help": help_of(failure)}, type="NoAnswer", non_retryable=True
            ) from failure
