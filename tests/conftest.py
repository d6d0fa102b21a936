"""Fixtures that every folder of tests may use: a Temporal dev server and, for marked tests, whole sandboxes."""

import pathlib
import sys
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from activities.models.search_attributes import SEARCH_ATTRIBUTES

if TYPE_CHECKING:
    from tests.sandboxes import Sandbox

BIN = pathlib.Path(sys.executable).parent


def attribute_keys() -> list[SearchAttributeKey]:  # type: ignore[type-arg]
    makers = {"Keyword": SearchAttributeKey.for_keyword, "KeywordList": SearchAttributeKey.for_keyword_list}
    return [makers[kind](name) for name, kind in SEARCH_ATTRIBUTES.items()]


@pytest.fixture(scope="session")
async def temporal() -> AsyncIterator[Client]:
    """A client of a Temporal dev server in memory. Not the time-skipping one: that one hangs when a cancel
    crosses an activity's completion."""
    async with await WorkflowEnvironment.start_local(
        data_converter=pydantic_data_converter,
        dev_server_existing_path=str(BIN / "temporal"),
        search_attributes=attribute_keys(),
    ) as environment:
        yield environment.client


@pytest.fixture(scope="session")
def sandbox() -> "Iterator[Sandbox]":
    """One whole sandbox for all marked tests of the session; it and its processes are gone afterwards."""
    # Tests that need no sandbox do not pay for loading what makes one.
    from tests.sandboxes import brought_up

    with brought_up() as sandbox:
        yield sandbox
