"""Gets ready what sandboxes need before anything waits for it: `python -m sandbox.binaries`, run by `make test` and
`make demo`, so that the first build is seen and no test's time runs out meanwhile.

Where the machine can run real nodes, that includes their programs, Debian's packages and container images.
"""

import sys

from sandbox.binaries.locate import find_binaries
from sandbox.binaries.programs import CONTROL_PLANE, NAME_SERVER, REAL_NODES
from sandbox.errors import SandboxError
from sandbox.layout import sandboxes_folder
from sandbox.nodes import images, requirements
from sandbox.progress import Progress


def main() -> int:
    progress = Progress(sys.stdout)
    obstacle = requirements.obstacle(sandboxes_folder())
    try:
        more = () if obstacle else (*REAL_NODES, *NAME_SERVER)
        found = find_binaries(None, progress, programs=(*CONTROL_PLANE, *more))
        if obstacle:
            progress.say(f"No real nodes on this machine: {obstacle}")
        else:
            requirements.ensure(sandboxes_folder(), progress)
            images.standard_images(progress)
    except SandboxError as error:
        sys.stderr.write(f"Error: {error.problem}\n  → {error.way_out}\n")
        return 2
    progress.say(f"{len(found)} programs are ready in {next(iter(found.values())).parent}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
