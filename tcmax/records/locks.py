"""One writer at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tcmax.errors import TcmaxError
from tcmax.records.files import explained


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Refuse a second writer of a run. The lock dies with its process, so a killed job leaves none behind."""
    with explained("write", folder):
        folder.mkdir(parents=True, exist_ok=True)
        stream: IO[str] = (folder / ".lock").open("a+")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            raise TcmaxError(
                f"{folder} is being written by process {stream.read().strip() or 'unknown'}; wait for it, or end it."
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield
