"""The product as the demo uses it: through its command line alone, as a person would. The sandbox imports
nothing of the product, so this also shows that its commands are enough.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from sandbox.errors import SandboxError
from sandbox.services import environment

#: A question is answered by a worker in a second; longer than this nobody is there (guessed).
_ANSWER_SECONDS = 120.0


class Supergiant:
    """Runs `supergiant` with the settings of one sandbox; `say` gets what it tells while it works."""

    def __init__(self, settings: Path, say: Callable[[str], None]) -> None:
        self._say = say
        # The user's own SUPERGIANT_... variables would change what the demo does, so they do not pass.
        self._environment = {**environment(), "SUPERGIANT_SETTINGS": str(settings)}

    def ask(self, *arguments: str) -> Any:
        """Run a command to its end and return its JSON."""
        try:
            result = subprocess.run(
                _command(arguments),
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=_ANSWER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SandboxError(f"{_spoken(arguments)} does not come to an end.") from error
        if result.returncode:
            raise SandboxError(f"{_spoken(arguments)} ended with {result.returncode}.", result.stderr.strip())
        return _parsed(arguments, result.stdout)

    def follow(self, *arguments: str) -> "Following":
        """Run a command that follows an operation, and pass on line by line what it says."""
        return Following(arguments, self._environment, self._say)


class Following:
    """A command that runs. Leaving the context ends it; the operation it follows goes on."""

    def __init__(
        self, arguments: tuple[str, ...], environment: dict[str, str], say: Callable[[str], None]
    ) -> None:
        self._arguments = arguments
        self._output: list[str] = []
        self._process = subprocess.Popen(
            _command(arguments), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        # Both pipes are read all the time, because a full one would hold the command up.
        self._readers = [
            _reader(self._process.stdout, self._output.append),
            _reader(self._process.stderr, lambda line: say(line.rstrip("\n"))),
        ]

    def __enter__(self) -> "Following":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._read_to_the_end()

    @property
    def ended(self) -> bool:
        """Whether the command has come to its end."""
        return self._process.poll() is not None

    def result(self, timeout_seconds: float) -> tuple[int, Any]:
        """Wait for the end: the exit code, and the JSON it wrote, None if it wrote none."""
        try:
            code = self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise SandboxError(
                f"{_spoken(self._arguments)} has not come to an end in {timeout_seconds:.0f} s."
            ) from error
        self._read_to_the_end()
        text = "".join(self._output)
        return code, _parsed(self._arguments, text) if text.strip() else None

    def _read_to_the_end(self) -> None:
        for reader in self._readers:
            reader.join()


def _reader(pipe: IO[str] | None, take: Callable[[str], object]) -> threading.Thread:
    def read() -> None:
        assert pipe is not None
        with pipe:
            for line in pipe:
                take(line)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-P", "-m", "starter.cli.main", "--json", *arguments]


def _spoken(arguments: tuple[str, ...]) -> str:
    return f"`supergiant {' '.join(arguments)}`"


def _parsed(arguments: tuple[str, ...], text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SandboxError(f"{_spoken(arguments)} wrote no JSON: {text.strip()[:200]}") from error
