"""Writing so that nothing half-written can exist under its final name.

A file is written under a temporary name in the same folder, flushed to disk and renamed. Operating-system
refusals (no space, no permission) become one sentence that names the file.
"""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tcmax.errors import TcmaxError

_REASONS = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.EEXIST: "a file stands where a folder is needed",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "a folder stands there",
    errno.ENAMETOOLONG: "the file name is too long",
}


@contextlib.contextmanager
def explained(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a TcmaxError: "cannot <action> <path>: <reason>."."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())
        raise TcmaxError(f"cannot {action} {path}: {reason}.") from error


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; when the block ends well it becomes `path`, else it vanishes."""
    path = Path(path)
    with explained("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        with explained("write", path):
            yield temporary
            # mkstemp makes files private; results are as readable as the user's umask says.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, atomically: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or damaged one is a TcmaxError naming it."""
    with explained("read", path):
        content = Path(path).read_bytes()
    try:
        return json.loads(content)
    except ValueError as error:
        raise TcmaxError(f"{path} is not valid JSON ({error}); delete it and build it again.") from error


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with explained("read", path), Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
