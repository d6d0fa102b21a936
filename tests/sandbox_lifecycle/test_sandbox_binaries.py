"""Where the sandbox's programs come from, in which order, and what is refused."""

import hashlib
import io
from pathlib import Path

import pytest

from sandbox.binaries import programs
from sandbox.binaries.locate import cache_folder, find_binaries
from sandbox.errors import SandboxError
from sandbox.progress import Progress, Silence

GOOD = "#!/bin/sh\necho v1\n"
PROGRAM = ("etcd",)


def executable(path: Path, text: str = GOOD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "path").mkdir()
    return {"XDG_CACHE_HOME": f"{tmp_path}/cache", "PATH": f"{tmp_path}/path:/usr/bin:/bin"}


def mirror(tmp_path: Path, environ: dict[str, str], digest_of: str = GOOD) -> None:
    executable(tmp_path / "mirror" / programs.machine() / "etcd")
    digest = hashlib.sha256(digest_of.encode()).hexdigest()
    (tmp_path / "sums").write_text(f"{digest}  etcd\n")
    environ["SUPERGIANT_BINARIES_URL"] = f"file://{tmp_path}/mirror"
    environ["SUPERGIANT_BINARIES_SHA256"] = f"{tmp_path}/sums"


def without_go(environ: dict[str, str], tmp_path: Path) -> None:
    environ["PATH"] = f"{tmp_path}/path"


def test_the_given_folder_wins_over_the_environment_and_the_cache(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    executable(cache_folder(environ) / "etcd")
    named = executable(tmp_path / "named" / "etcd")
    environ["SUPERGIANT_BIN_DIR"] = f"{tmp_path}/named"
    given = executable(tmp_path / "given" / "etcd")
    assert find_binaries(tmp_path / "given", Silence(), environ, PROGRAM) == {"etcd": given}
    assert find_binaries(None, Silence(), environ, PROGRAM) == {"etcd": named}
    del environ["SUPERGIANT_BIN_DIR"]
    assert find_binaries(None, Silence(), environ, PROGRAM) == {"etcd": cache_folder(environ) / "etcd"}


def test_a_given_folder_that_lacks_a_program_is_refused_by_name(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    executable(tmp_path / "given" / "etcd")
    with pytest.raises(SandboxError, match="lacks kwok, kwokctl"):
        find_binaries(tmp_path / "given", Silence(), environ, ("etcd", "kwok", "kwokctl"))


def test_a_given_folder_may_leave_kubectl_to_the_machine(tmp_path: Path, environ: dict[str, str]) -> None:
    executable(tmp_path / "given" / "etcd")
    kubectl = executable(tmp_path / "path" / "kubectl")
    found = find_binaries(tmp_path / "given", Silence(), environ, ("etcd", "kubectl"))
    assert found["kubectl"] == kubectl


def test_a_download_is_checked_and_cached(tmp_path: Path, environ: dict[str, str]) -> None:
    mirror(tmp_path, environ)
    found = find_binaries(None, Silence(), environ, PROGRAM)
    assert found["etcd"].read_text() == GOOD
    del environ["SUPERGIANT_BINARIES_URL"]
    without_go(environ, tmp_path)
    assert find_binaries(None, Silence(), environ, PROGRAM) == found


def test_a_wrong_checksum_is_refused_and_nothing_installed(tmp_path: Path, environ: dict[str, str]) -> None:
    mirror(tmp_path, environ, digest_of="something else")
    with pytest.raises(SandboxError, match="Nothing was installed"):
        find_binaries(None, Silence(), environ, PROGRAM)
    assert not (cache_folder(environ) / "etcd").exists()
    assert not list(cache_folder(environ).glob(".new-*"))


def test_a_mirror_without_checksums_is_not_trusted(tmp_path: Path, environ: dict[str, str]) -> None:
    mirror(tmp_path, environ)
    del environ["SUPERGIANT_BINARIES_SHA256"]
    with pytest.raises(SandboxError, match="SUPERGIANT_BINARIES_SHA256 is not"):
        find_binaries(None, Silence(), environ, PROGRAM)


def test_a_program_that_does_not_run_is_not_installed(tmp_path: Path, environ: dict[str, str]) -> None:
    broken = "#!/bin/sh\nexit 1\n"
    mirror(tmp_path, environ, digest_of=broken)
    executable(tmp_path / "mirror" / programs.machine() / "etcd", broken)
    with pytest.raises(SandboxError, match="etcd does not run"):
        find_binaries(None, Silence(), environ, PROGRAM)
    assert not (cache_folder(environ) / "etcd").exists()


def test_an_unreachable_mirror_falls_back_to_building(tmp_path: Path, environ: dict[str, str]) -> None:
    mirror(tmp_path, environ)
    environ["SUPERGIANT_BINARIES_URL"] = f"file://{tmp_path}/nowhere"
    without_go(environ, tmp_path)
    said = io.StringIO()
    with pytest.raises(SandboxError, match="Go is not installed"):
        find_binaries(None, Progress(said), environ, PROGRAM)
    assert "building the programs instead" in said.getvalue()


def test_without_go_the_way_out_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    without_go(environ, tmp_path)
    with pytest.raises(SandboxError, match="--bin-dir") as refused:
        find_binaries(None, Silence(), environ, PROGRAM)
    assert "Go is not installed" in refused.value.problem


def test_an_old_go_that_may_not_fetch_a_newer_one_is_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    go = '#!/bin/sh\n[ "$2" = GOVERSION ] && echo go1.19.8\n[ "$2" = GOTOOLCHAIN ] && echo local\n'
    executable(tmp_path / "path" / "go", go)
    with pytest.raises(SandboxError, match=r"go1\.19\.8 is too old"):
        find_binaries(None, Silence(), environ, PROGRAM)


def fake_go(tmp_path: Path, build: str) -> None:
    """A `go` that answers what is asked before a build, and then does as told ($OUT is the target)."""
    script = f"""#!/bin/sh
case "$1 $2" in
  "env GOVERSION") echo go1.26.8 ;;
  "env GOTOOLCHAIN") echo auto ;;
  "list -deps") echo a; echo b ;;
  build*) while [ "$1" != -o ]; do shift; done; OUT=$2; {build} ;;
esac
"""
    executable(tmp_path / "path" / "go", script)


def test_a_build_says_what_it_does_and_installs_etcd_under_its_name(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    fake_go(
        tmp_path,
        "printf '#!/bin/sh\\necho v1\\n' > $OUT/server; chmod +x $OUT/server; echo a >&2; echo b >&2",
    )
    said = io.StringIO()
    found = find_binaries(None, Progress(said), environ, PROGRAM)
    assert found["etcd"].exists()
    assert "Building 1 programs with Go (etcd)" in said.getvalue()
    assert "about 7 minutes" in said.getvalue()
    assert "Built 1 programs" in said.getvalue()


def test_a_full_disk_during_the_build_is_told_as_such(tmp_path: Path, environ: dict[str, str]) -> None:
    fake_go(tmp_path, "echo 'write x.o: no space left on device' >&2; exit 1")
    with pytest.raises(SandboxError, match="disk is full"):
        find_binaries(None, Silence(), environ, PROGRAM)


def test_a_failed_build_shows_what_go_said_and_leaves_nothing(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    fake_go(tmp_path, "echo 'dial tcp: lookup proxy: no such host' >&2; exit 1")
    with pytest.raises(SandboxError, match="no such host") as refused:
        find_binaries(None, Silence(), environ, PROGRAM)
    assert "GOPROXY" in refused.value.way_out
    assert [path.name for path in cache_folder(environ).iterdir()] == [".lock"]


def test_an_unwritable_cache_is_told_with_the_way_out(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "cache").write_text("a file where a folder is wanted")
    with pytest.raises(SandboxError, match="XDG_CACHE_HOME"):
        find_binaries(None, Silence(), environ, PROGRAM)


def test_another_module_or_flag_is_another_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = programs.cache_key()
    monkeypatch.setattr(programs, "BUILD_FLAGS", ("-race",))
    flagged = programs.cache_key()
    changed = tmp_path / "go.sum"
    changed.write_text("other")
    monkeypatch.setattr(programs, "MODULE_FILES", (programs.MODULE_FILES[0], changed))
    assert len({before, flagged, programs.cache_key()}) == 3
