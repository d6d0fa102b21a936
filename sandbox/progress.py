"""Tells the person at the terminal what the sandbox is doing.

Used by the lifecycle and by the build of the binaries; written for standard error, so that
standard output carries results alone.
"""

import sys
import threading
import time
from typing import TextIO

_QUIET_SECONDS = 15.0


class Progress:
    """Lines in a pipe; on a terminal the last line of a long wait is rewritten in place."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._unfinished = False
        self._last_update = 0.0
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """A line that stays."""
        with self._lock:
            self._finish()
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def update(self, text: str) -> None:
        """A passing state: rewritten on a terminal, and in a pipe shown four times a minute at most."""
        with self._lock:
            if self._live:
                self._stream.write(f"\r\x1b[2K{text}")
                self._unfinished = True
            elif time.monotonic() - self._last_update >= _QUIET_SECONDS:
                self._last_update = time.monotonic()
                self._stream.write(f"{text}\n")
            self._stream.flush()

    def _finish(self) -> None:
        if self._unfinished:
            self._stream.write("\r\x1b[2K")
            self._unfinished = False


class Silence(Progress):
    """For tests and for callers that print nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def update(self, text: str) -> None:
        """Say nothing."""
