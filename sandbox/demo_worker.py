"""A worker of the product beside a sandbox, as one more process of it: recorded with its pid and start in the
sandbox's folder, so that exactly this one is found again. Used by the demo and the benches.
"""

import http.client
import signal
import sys
import time

from sandbox.errors import NotThere, SandboxError
from sandbox.layout import Layout, read_memory
from sandbox.processes import Command, Processes, Running, end
from sandbox.services import environment

NAME = "worker"

#: Loading the cloud's and Kubernetes' clients takes some seconds, and more on a machine short of CPU (guessed).
_READY_SECONDS = 60.0
#: Running activities may finish; nothing is lost if they do not, so nobody is made to wait long (guessed).
_STOP_SECONDS = 5.0
_PERIOD_SECONDS = 0.05


class Worker:
    """The one worker of a sandbox."""

    def __init__(self, layout: Layout) -> None:
        memory = read_memory(layout)
        if memory is None:
            raise NotThere(f"There is no sandbox {layout.name!r}.", "Bring it up first.")
        self._layout = layout
        self._processes = Processes(layout)
        self._health_port = memory.ports["worker-health"]
        self.log = self._processes.log(NAME)

    def find(self) -> Running | None:
        """The running worker."""
        return self._processes.find(NAME)

    def start(self) -> Running:
        """Start it if it does not run; returns when it takes work."""
        running = self.find() or self._processes.start(self._command())
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready():
            if not running.lives():
                raise SandboxError("The worker ended right after its start.", f"Its log: {self.log}")
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"The worker is not ready after {_READY_SECONDS:.0f} s.", f"Its log: {self.log}"
                )
            time.sleep(_PERIOD_SECONDS)
        return running

    def spawn(self) -> Running:
        """Start it and return at once, for whoever measures how long it takes."""
        return self._processes.start(self._command())

    def kill(self) -> bool:
        """End it as a crash would; False if none was running."""
        return self._processes.kill(NAME, signal.SIGKILL)

    def stop(self) -> Running | None:
        """End it in good order; returns the one that was running."""
        running = self.find()
        if running is not None:
            end([running], signal.SIGTERM, patience_seconds=_STOP_SECONDS)
        return running

    def _command(self) -> Command:
        variables = {**environment(), "SUPERGIANT_SETTINGS": str(self._layout.settings)}
        return Command(NAME, (sys.executable, "-P", "-m", "workers.main"), variables)

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._health_port, timeout=1.0)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
