"""Two wrappers around every change of a sandbox: one change at a time, and errors in plain words.

Used by `sandbox.lifecycle`, and the first one by `sandbox.nodes.faults`.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from sandbox.errors import SandboxError
from sandbox.layout import Layout
from sandbox.progress import Progress


@contextlib.contextmanager
def alone(layout: Layout, progress: Progress) -> Iterator[None]:
    """Hold the sandbox's lock; a second `up` waits and then finds everything done."""
    while True:
        layout.lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with layout.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.say(f"Somebody else is changing sandbox {layout.name}; waiting for that.")
                fcntl.flock(lock, fcntl.LOCK_EX)
            # `down` removes the file with the lock held: whoever waited for it must take the new one.
            if not layout.lock.exists() or not os.path.samestat(os.fstat(lock.fileno()), layout.lock.stat()):
                continue
            yield
            return


@contextlib.contextmanager
def plain_words(layout: Layout) -> Iterator[None]:
    """Turn what a disk may refuse into a line with the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SandboxError(
                f"The disk of {layout.folder} is full.",
                "Make room, or set SUPERGIANT_SANDBOX_HOME to a folder on a bigger disk.",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise SandboxError(
                f"Cannot write to {error.filename or layout.folder}: {error.strerror}.",
                "Make it writable, or set SUPERGIANT_SANDBOX_HOME to a folder that is.",
            ) from error
        raise
