"""The crash series of the end-to-end tests once more, with containers that run and disks that hold bytes."""

import pytest

from tests.e2e.test_crash_series import (
    test_a_worker_killed_at_any_change_changes_nothing_in_the_end,
    test_a_worker_killed_at_any_change_of_an_undo_leaves_nothing,
    test_an_answer_lost_at_any_change_changes_nothing_in_the_end,
    test_every_planned_step_is_seen_at_work_and_undone,
)

__all__ = [
    "test_a_worker_killed_at_any_change_changes_nothing_in_the_end",
    "test_a_worker_killed_at_any_change_of_an_undo_leaves_nothing",
    "test_an_answer_lost_at_any_change_changes_nothing_in_the_end",
    "test_every_planned_step_is_seen_at_work_and_undone",
]

# Each container's start costs a second of CPU, and there are some hundred of them.
pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]
