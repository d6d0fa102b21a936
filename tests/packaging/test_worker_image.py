"""The worker's image: a worker starts with what it holds, and it holds no more."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
CONTAINERFILE = (DEPLOY / "worker.Containerfile").read_text()
LOCK = (REPOSITORY / "requirements" / "runtime.lock").read_text()
COPIED = re.findall(r"^COPY (\w+) /app/\1$", CONTAINERFILE, re.MULTILINE)

# Imports all of a worker where only our own packages and the locked libraries can be found.
START = """
import importlib.metadata, re, sys
app, libraries, locked = sys.argv[1], sys.argv[2], set(sys.argv[3].split())
sys.path[:0] = [app, libraries]
owners = importlib.metadata.packages_distributions()

class OnlyLocked:
    def find_spec(self, name, path=None, target=None):
        owned = [re.sub("[-_.]+", "-", owner).lower() for owner in owners.get(name, [])]
        if owned and not locked.intersection(owned):
            raise ModuleNotFoundError(f"No module named {name!r} in the image", name=name)

sys.meta_path.insert(0, OnlyLocked())
import workers.main, activities.clouds.aws
print(workers.main.__file__, sys.modules["boto3"].__file__)
"""


def test_a_worker_starts_with_what_the_image_holds(tmp_path: Path) -> None:
    for name in COPIED:
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    locked = [re.sub(r"[-_.]+", "-", n).lower() for n in re.findall(r"^([\w.-]+)==", LOCK, re.MULTILINE)]
    # Without `site`, the editable installation of this tree is not found.
    libraries = sysconfig.get_paths()["purelib"]
    ran = subprocess.run(
        [sys.executable, "-S", "-c", START, str(tmp_path), libraries, " ".join(locked)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    ours, theirs = ran.stdout.split()
    assert Path(ours) == tmp_path / "workers" / "main.py"
    assert Path(theirs).is_relative_to(libraries)


def test_libraries_are_installed_by_hash() -> None:
    assert "--require-hashes" in CONTAINERFILE
    assert "index-url" not in LOCK
    for requirement in re.split(r"\n(?=\S+==)", LOCK):
        assert "--hash=sha256:" in requirement, requirement.splitlines()[0]


def test_it_runs_as_an_ordinary_user() -> None:
    assert re.findall(r"^USER (\S+)", CONTAINERFILE, re.MULTILINE)[-1] == "1000:1000"


def test_only_what_it_copies_is_sent_to_the_builder() -> None:
    lines = (DEPLOY / "worker.Containerfile.dockerignore").read_text().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    assert sent == {*COPIED, "requirements/runtime.lock"}
