"""Data that goes into the demo's Redis before the worker dies and comes out of it afterwards. Used by the demo on
real nodes; it asks by kubectl, as anybody would who looks after the cluster.
"""

import subprocess
import time
from dataclasses import dataclass

from sandbox.errors import SandboxError
from sandbox.layout import Layout, Memory
from sandbox.services import environment

_KEY = "demo:before"
#: An image is unpacked and a server started on a machine that does much else meanwhile (guessed).
_PATIENCE_SECONDS = 120.0
_ANSWER_SECONDS = 20.0
_PERIOD_SECONDS = 0.1
#: A replica that has just started copies everything, which here is a few bytes (guessed).
_COPY_SECONDS = 30.0


@dataclass(frozen=True)
class _Answer:
    """What the client in the container said, or why it could not say anything."""

    good: bool
    text: str

    @property
    def is_value(self) -> bool:
        return self.good and bool(self.text)


class Data:
    """One value in one Redis, whose instances are pods `COMPONENT-N-0` of the namespace `app`."""

    def __init__(self, layout: Layout, memory: Memory, app: str, component: str) -> None:
        self._kubectl = (memory.programs["kubectl"], "--kubeconfig", str(layout.kubeconfig))
        self._app, self._component = app, component

    def write_as_soon_as_possible(self, value: str) -> None:
        """Returns when instance 0 has acknowledged the value, which it does once it is on its disk."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (answer := self._redis(0, "set", _KEY, value)) != _Answer(True, "OK"):
            if time.monotonic() > deadline:
                raise SandboxError(f"Redis takes no data after {_PATIENCE_SECONDS:.0f} s: {answer.text}")
            time.sleep(_PERIOD_SECONDS)

    def read(self, instance: int) -> str:
        """What an instance says the value is. One that has just joined gets it from instance 0 in its own time."""
        deadline = time.monotonic() + (_COPY_SECONDS if instance else 0.0)
        while not (answer := self._redis(instance, "get", _KEY)).is_value and time.monotonic() < deadline:
            time.sleep(_PERIOD_SECONDS)
        return answer.text

    def _redis(self, instance: int, *words: str) -> _Answer:
        # The password is in the container's environment, where the client looks for it by itself.
        inside = ("exec", "-n", self._app, f"{self._component}-{instance}-0", "--", "redis-cli", "-e", *words)
        try:
            result = subprocess.run(
                [*self._kubectl, *inside],
                env=environment(),
                capture_output=True,
                text=True,
                timeout=_ANSWER_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _Answer(False, f"no answer in {_ANSWER_SECONDS:.0f} s")
        if result.returncode:
            return _Answer(False, (result.stderr or result.stdout).strip())
        return _Answer(True, result.stdout.strip())
