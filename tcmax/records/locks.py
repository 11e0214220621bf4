"""One writer at a time."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tcmax.errors import TcmaxError
from tcmax.records.files import explained


@contextlib.contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock file `path`, whose folder is made where it is missing; it names the process that holds it.

    The lock dies with its process, so a killed job leaves none behind; the file stays. Links are not followed.

    Raises TcmaxError with the sentence `refusal`, in which {process} stands for the holder, when another process holds
    it; and TcmaxError when the file cannot be written.
    """
    with explained("write", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    with explained("write", path):
        try:
            lock.acquire()
        except Timeout:
            holder = path.read_text(encoding="utf-8", errors="replace").strip()
            raise TcmaxError(refusal.format(process=holder or "unknown")) from None
        path.write_text(str(os.getpid()), encoding="utf-8")
    try:
        yield
    finally:
        if path.exists():  # an owner may remove its lock with the folder that it stands in
            path.write_bytes(b"")
        lock.release()


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Refuse a second writer of a run."""
    refusal = f"{folder} is being written by process {{process}}; wait for it, or end it."
    with locked(folder / ".lock", refusal):
        yield
