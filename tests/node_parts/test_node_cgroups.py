"""Cgroups of nodes, on folders that look like hierarchies of either version."""

from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.nodes import cgroups


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    """Three hierarchies and, as on many machines, an empty one of version 2 beside them."""
    lines = list[str]()
    for name, kind in {
        "cpuset": "cgroup",
        "memory": "cgroup",
        "systemd": "cgroup",
        "unified": "cgroup2",
    }.items():
        (tmp_path / name).mkdir()
        lines.append(f"{kind} {tmp_path / name} {kind} rw 0 0")
    (tmp_path / "cpuset/cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset/cpuset.mems").write_text("0\n")
    mounts = tmp_path / "mounts"
    mounts.write_text("\n".join([*lines, f"tmpfs {tmp_path} tmpfs rw 0 0"]))
    return mounts


@pytest.fixture
def version_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "cgroup"
    # The kernel puts these files into every new cgroup.
    for folder in (root, root / "sg140-n1"):
        folder.mkdir()
        (folder / "cgroup.controllers").write_text("cpuset memory\n")
        (folder / "cgroup.subtree_control").write_text("")
    monkeypatch.setattr(cgroups, "_ROOT", root)
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup2 {root} cgroup2 rw,nosuid 0 0\n")
    return mounts


def test_a_nodes_cgroup_is_made_in_every_hierarchy_of_version_1(version_1: Path, tmp_path: Path) -> None:
    cgroups.make("sg140-n1", version_1)
    assert all((tmp_path / name / "sg140-n1").is_dir() for name in ("cpuset", "memory", "systemd"))
    assert not (tmp_path / "unified/sg140-n1").exists()
    cgroups.make("sg140-n1", version_1)


def test_a_set_of_processors_is_taken_over_since_an_empty_one_takes_no_process(
    version_1: Path, tmp_path: Path
) -> None:
    own = tmp_path / "cpuset/sg140-n1"
    own.mkdir()
    for setting in ("cpuset.cpus", "cpuset.mems"):
        (own / setting).write_text("\n")
    cgroups.make("sg140-n1", version_1)
    assert (own / "cpuset.cpus").read_text() == "0-1\n"
    assert (own / "cpuset.mems").read_text() == "0\n"


def test_on_version_2_every_controller_is_passed_on_from_the_top_to_the_containers(
    version_2: Path, tmp_path: Path
) -> None:
    cgroups.make("sg140-n1", version_2)
    for folder in (tmp_path / "cgroup", tmp_path / "cgroup/sg140-n1"):
        # A real one adds each; a file shows the last that was asked for.
        assert (folder / "cgroup.subtree_control").read_text() == "+memory"


def test_the_cgroups_of_one_sandbox_are_found_in_all_hierarchies(version_1: Path, tmp_path: Path) -> None:
    for name in ("sg140-n1", "sg140-n12", "sg141-n1"):
        cgroups.make(name, version_1)
    found = {path.name for path in cgroups.found("sg140-n", version_1)}
    assert found == {"sg140-n1", "sg140-n12"}
    assert len(list(cgroups.found("sg140-n", version_1))) == 6


def test_a_dead_nodes_cgroup_is_removed_with_all_that_its_containers_left(
    version_1: Path, tmp_path: Path
) -> None:
    for name in ("sg140-n1", "sg140-n12"):
        cgroups.make(name, version_1)
        (tmp_path / "memory" / name / "kubepods/burstable/pod1").mkdir(parents=True)
    cgroups.remove("sg140-n1", version_1)
    assert not list(cgroups.found("sg140-n1", version_1, whole_name=True))
    assert (tmp_path / "memory/sg140-n12/kubepods/burstable/pod1").is_dir()
    cgroups.remove("sg140-n", version_1, whole_name=False)
    assert not list(cgroups.found("sg140-n", version_1))


def test_removing_what_was_never_made_is_well(version_1: Path, version_2: Path) -> None:
    cgroups.remove("sg199-n1", version_1)
    cgroups.remove("sg199-n", version_2, whole_name=False)


def test_a_cgroup_that_still_holds_processes_is_told_by_its_path(
    version_1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(cgroups, "_PERIOD_SECONDS", 0.0)
    cgroups.make("sg140-n1", version_1)
    # As the kernel does with a busy cgroup, a folder with a file in it does not go.
    (tmp_path / "memory/sg140-n1/tasks").write_text("1\n")
    with pytest.raises(SandboxError, match=r"memory/sg140-n1 still holds processes"):
        cgroups.remove("sg140-n1", version_1)
