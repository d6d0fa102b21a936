"""Histories of finished runs still replay: an operation that is under way survives an upgrade of the worker."""

import pathlib

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from workers.runner import WORKFLOWS, workflow_runner

HISTORIES = sorted((pathlib.Path(__file__).parent.parent / "histories").glob("*.json"))


def test_there_are_histories_of_both_workflows() -> None:
    assert {path.stem.split("-")[0] for path in HISTORIES} == {"component", "operation"}


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: pathlib.Path) -> None:
    replayer = Replayer(
        workflows=WORKFLOWS, data_converter=pydantic_data_converter, workflow_runner=workflow_runner()
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, path.read_text()))


async def test_a_history_of_other_steps_does_not_replay() -> None:
    """The guard itself can fail: a history in which a step has another name is refused."""
    text = next(path for path in HISTORIES if path.stem == "component-succeeded").read_text()
    replayer = Replayer(
        workflows=WORKFLOWS, data_converter=pydantic_data_converter, workflow_runner=workflow_runner()
    )
    with pytest.raises(Exception, match=r"[Nn]ondeterminism"):
        await replayer.replay_workflow(
            WorkflowHistory.from_json("changed", text.replace('"ensure-services"', '"ensure-nothing"'))
        )
