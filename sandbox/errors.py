"""What can foreseeably go wrong with a sandbox, as one error type whose text is fit for a newcomer.

The CLI prints it as it is; tests look for its words.
"""


class SandboxError(Exception):
    """One line that says what is wrong, and a second one that says the way out."""

    def __init__(self, problem: str, way_out: str = "") -> None:
        super().__init__(f"{problem}\n{way_out}" if way_out else problem)
        self.problem = problem
        self.way_out = way_out


class NotThere(SandboxError):
    """What was asked for by name does not exist: the caller's mistake, nothing is broken."""
