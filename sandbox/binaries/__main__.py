"""Gets the sandbox's programs ready before anything waits for them: `python -m sandbox.binaries`, run by
`make test`, so that the first build is seen and no test's time runs out meanwhile."""

import sys

from sandbox.binaries.locate import find_binaries
from sandbox.errors import SandboxError
from sandbox.progress import Progress


def main() -> int:
    progress = Progress(sys.stdout)
    try:
        found = find_binaries(None, progress)
    except SandboxError as error:
        sys.stderr.write(f"Error: {error.problem}\n  → {error.way_out}\n")
        return 2
    progress.say(f"{len(found)} programs are ready in {next(iter(found.values())).parent}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
