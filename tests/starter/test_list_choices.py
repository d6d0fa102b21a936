"""A slip in a filter must not read as "nothing is parked"."""

import pytest
from click.testing import CliRunner

from starter.cli.op import KINDS, STATES, op
from workflows.models.operations import OperationKind, OperationState


def test_the_choices_are_those_of_the_models() -> None:
    assert set(STATES) == {state.value for state in OperationState}
    assert set(KINDS) == {kind.value for kind in OperationKind}


@pytest.mark.parametrize(("option", "slip"), [("--state", "parkd"), ("--kind", "removal")])
def test_a_slip_is_refused_with_what_there_is(option: str, slip: str) -> None:
    ended = CliRunner().invoke(op, ["list", option, slip])
    assert ended.exit_code == 2
    assert slip in ended.output
