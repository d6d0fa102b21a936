"""The programs of real nodes: built only when asked for, the name server from a module and into a cache of its own."""

from pathlib import Path

import pytest

from sandbox.binaries import programs
from sandbox.binaries.locate import cache_folder, find_binaries
from sandbox.progress import Silence


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "path").mkdir()
    return {"XDG_CACHE_HOME": f"{tmp_path}/cache", "PATH": f"{tmp_path}/path:/usr/bin:/bin"}


@pytest.fixture
def builds(tmp_path: Path) -> Path:
    """A `go` that makes what it is asked for, and writes down each build: its module and its packages."""
    log = tmp_path / "builds"
    go = tmp_path / "path" / "go"
    go.parent.mkdir(exist_ok=True)
    go.write_text(f"""#!/bin/sh
case "$1 $2" in
  "env GOVERSION") echo go1.26.8 ;;
  "env GOTOOLCHAIN") echo auto ;;
  "list -deps") echo a ;;
  build*)
    while [ "$1" != -o ]; do shift; done; out=$2; shift 2
    echo "$(head -1 go.mod) $*" >> {log}
    for package in "$@"; do
      name=${{package##*/}}; [ "$name" = v3 ] && name=server
      printf '#!/bin/sh\\necho v1\\n' > "$out/$name"; chmod +x "$out/$name"
    done ;;
esac
""")
    go.chmod(0o755)
    return log


def module_of(path: Path) -> str:
    return path.read_text().splitlines()[0]


def test_the_name_server_has_a_module_and_a_cache_of_its_own(environ: dict[str, str]) -> None:
    others = {cache_folder(environ, name) for name in (*programs.CONTROL_PLANE, *programs.REAL_NODES)}
    assert others == {cache_folder(environ)}
    assert cache_folder(environ, "coredns") not in others
    assert (
        programs.module_files("coredns") != programs.module_files("kubelet") == programs.module_files("etcd")
    )
    for name in ("coredns", "kubelet"):
        assert all(path.exists() for path in programs.module_files(name))


def test_a_change_of_one_module_leaves_the_programs_of_the_other(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = {name: cache_folder(environ, name) for name in ("etcd", "coredns")}
    changed = tmp_path / "go.sum"
    changed.write_text("other")
    monkeypatch.setattr(programs, "NAME_SERVER_FILES", (programs.NAME_SERVER_FILES[0], changed))
    assert cache_folder(environ, "etcd") == before["etcd"]
    assert cache_folder(environ, "coredns") != before["coredns"]


def test_every_program_is_built_from_its_own_module_once(environ: dict[str, str], builds: Path) -> None:
    wanted = ("etcd", "kubelet", "kube-proxy", "coredns")
    found = find_binaries(None, Silence(), environ, wanted)
    assert set(found) == set(wanted)
    assert all(path.exists() and path.name == name for name, path in found.items())
    nodes, names = (module_of(programs.module_files(name)[0]) for name in ("kubelet", "coredns"))
    packages = programs.PACKAGES
    assert sorted(builds.read_text().splitlines()) == sorted(
        [
            f"{nodes} {packages['etcd']} {packages['kubelet']} {packages['kube-proxy']}",
            f"{names} {packages['coredns']}",
        ]
    )
    assert find_binaries(None, Silence(), environ, wanted) == found
    assert len(builds.read_text().splitlines()) == 2


def test_programs_of_real_nodes_are_added_to_those_that_are_there(
    environ: dict[str, str], builds: Path
) -> None:
    find_binaries(None, Silence(), environ, ("etcd",))
    find_binaries(None, Silence(), environ, ("etcd", "kubelet"))
    assert [line.split()[2:] for line in builds.read_text().splitlines()] == [
        [programs.PACKAGES["etcd"]],
        [programs.PACKAGES["kubelet"]],
    ]


def test_a_sandbox_without_real_nodes_asks_for_none_of_their_programs() -> None:
    assert not set(programs.CONTROL_PLANE) & {*programs.REAL_NODES, *programs.NAME_SERVER}
