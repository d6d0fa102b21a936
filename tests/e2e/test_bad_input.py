"""What is asked wrongly is refused in a line, with exit code 2, and nothing is touched."""

import asyncio
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.pictures import leftovers
from tests.e2e.stage import NO_API_SERVER, WRONG_ACCOUNT, WRONG_KEYS, Stage, app_document, marks
from tests.sandboxes import Said, write_settings

pytestmark = marks()

Change = Callable[[dict[str, Any]], object]


def _component(**fields: Any) -> Change:
    return lambda document: document["components"][0].update(fields)


def _volume(**fields: Any) -> Change:
    return lambda document: document["components"][0]["volumes"][0].update(fields)


def _container(**fields: Any) -> Change:
    return lambda document: document["components"][0]["containers"][0].update(fields)


def _twice(key: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        there = document if key == "components" else document["components"][0]
        there[key].append(copy.deepcopy(there[key][0]))

    return change


#: What is wrong with a document, and words that the one line must have.
WRONG: dict[str, tuple[Change, tuple[str, ...]]] = {
    "an unknown key": (_component(instancs=3), ("instancs", "did you mean 'instances'")),
    "size 0": (_volume(size="0Gi"), ("size '0Gi' is zero", "at least 1Gi")),
    "70,000 GiB of gp3": (_volume(size="70000Gi"), ("70000", "1 to 65,536 GiB")),
    "IOPS beyond the ratio": (_volume(size="10Gi", iops=6000), ("iops 6000", "at least 12Gi")),
    "an unknown disk type": (_volume(type="gp9"), ("unknown disk type 'gp9'", "gp3")),
    "a name too long": (_component(name="a" * 200), ("200 characters", "at most 30")),
    "an ill-formed name": (_component(name="My_DB"), ("My_DB", "lower-case")),
    "components of one name": (_twice("components"), ("component", "'db'")),
    "volumes of one name": (_twice("volumes"), ("volume", "'data'")),
    "a mount of an unknown volume": (
        _container(mounts=[{"volume": "dta", "path": "/data"}]),
        ("unknown volume 'dta'", "known: data"),
    ),
    "a port out of range": (_container(ports=[{"name": "db", "port": 70_000}]), ("port", "70000", "65535")),
    "a cpu request above its limit": (_container(cpu={"request": "2", "limit": "1"}), ("above the limit 1",)),
    "a memory request above its limit": (
        _container(memory={"request": "2Gi", "limit": "1Gi"}),
        ("above the limit 1Gi",),
    ),
}


@pytest.fixture
async def untouched(stage: Stage) -> Callable[[], None]:
    """Fails unless the cloud has not been changed and no object of the app is there."""
    await stage.cleared()
    calls = stage.sandbox.admin.health()["last_call"]

    def check() -> None:
        made = [
            c for c in stage.sandbox.admin.calls(since=calls) if c["action"].startswith(("Create", "Del"))
        ]
        assert made == []
        assert leftovers(stage.sandbox, "wrong") == []
        names = {one["metadata"]["name"] for one in stage.sandbox.api.items("/api/v1/namespaces")}
        assert "wrong" not in names

    return check


async def test_a_wrong_document_is_refused_in_one_line_with_its_place(
    stage: Stage, untouched: Callable[[], None], tmp_path: Path
) -> None:
    # Nobody listens there: so a request that came through the door would be told by its own error.
    settings = stage.sandbox.settings | {"temporal": {"address": "127.0.0.1:1"}}
    nowhere = write_settings(tmp_path / "nowhere.toml", settings)
    room = asyncio.Semaphore(3)

    async def refused(what: str) -> str | None:
        change, words = WRONG[what]
        path = _document(tmp_path, what.replace(" ", "-"), change)
        async with room:
            said = await stage.cli("app", "deploy", "-f", str(path), "-y", settings=nowhere)
        line = said.err.splitlines()[0] if said.err else ""
        missing = [word for word in (f"Error: {path}:", *words) if word not in line]
        if said.code != 2 or missing or said.out or not _is_clear(said):
            return f"{what}: {said} lacks {missing}"
        return None

    wrong = [answer for answer in await asyncio.gather(*(refused(what) for what in WRONG)) if answer]
    assert not wrong, "\n".join(wrong)
    untouched()


async def test_a_right_document_passes_the_same_door(stage: Stage, tmp_path: Path) -> None:
    """Without this, the test above would pass with a door that lets nothing through."""
    path = _document(tmp_path, "right", lambda document: None)
    said = await stage.cli("app", "deploy", "-f", str(path), "--plan")
    assert said.code == 0, said.err
    assert "create disk data of db-0" in said.out


async def test_no_such_zone(stage: Stage, untouched: Callable[[], None], tmp_path: Path) -> None:
    path = _document(tmp_path, "zone", _component(placement={"zones": ["us-east-1z"]}))
    said = await stage.cli("app", "deploy", "-f", str(path), "-y", "-w")
    _refused(said, "no such zone 'us-east-1z'", "us-east-1a")
    untouched()


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        (WRONG_KEYS, ("AWS",)),
        (WRONG_ACCOUNT, ("999999999999", "123456789012")),
        (NO_API_SERVER, ("Kubernetes API server", "127.0.0.1:1")),
        ("atlantis", ("no cluster named 'atlantis'",)),
    ],
)
async def test_a_cluster_that_cannot_be_used(
    stage: Stage, untouched: Callable[[], None], tmp_path: Path, cluster: str, words: tuple[str, ...]
) -> None:
    path = _document(tmp_path, cluster, lambda document: None)
    command = ("app", "deploy", "-f", str(path), "-y", "-w", "--cluster", cluster)
    _refused(await stage.cli(*command, settings=stage.settings), *words)
    untouched()


async def test_temporal_is_down(stage: Stage, untouched: Callable[[], None], tmp_path: Path) -> None:
    path = _document(tmp_path, "down", lambda document: None)
    address = stage.sandbox.settings["temporal"]["address"]
    assert stage.sandbox.kill("temporal")
    try:
        said = await stage.cli("app", "deploy", "-f", str(path), "-y", "-w")
    finally:
        await asyncio.to_thread(stage.sandbox.start, "temporal")
    _refused(said, f"Temporal at {address} cannot be reached")
    untouched()


async def test_a_name_that_does_not_exist_is_told_with_what_does(stage: Stage) -> None:
    commands: dict[tuple[str, ...], str] = {
        ("app", "show", "nobody"): "there is no app 'nobody'",
        ("op", "show", "nothing"): "there is no operation 'nothing'",
        ("op", "cancel", "nothing"): "there is no operation 'nothing'",
        ("app", "deploy", "--recipe", "redsi", "-y"): "redis",
        ("app", "deploy", "-f", "missing.yaml", "-y"): "missing.yaml",
        ("app", "deploy", "--frobnicate"): "--frobnicate",
    }
    for command, words in commands.items():
        _refused(await stage.cli(*command), words)


def _document(folder: Path, name: str, change: Change) -> Path:
    document = app_document("wrong")
    change(document)
    path = folder / f"{name.replace(',', '')}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _refused(said: Said, *words: str) -> None:
    assert said.code == 2, said
    told = said.out + said.err
    assert all(word in told for word in words), said
    assert _is_clear(said), said


def _is_clear(said: Said) -> bool:
    """One line says what is wrong; what follows it is indented, and nothing of it is for programmers."""
    told = said.out + said.err
    foreign = [
        word for word in ("Traceback", 'File "', "temporalio.", "pydantic", "botocore") if word in told
    ]
    return not foreign and bool(told.strip())
