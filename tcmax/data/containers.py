"""Reading gzip, idx and tar files that came from elsewhere.

Everything is read into memory under a size limit and nothing is ever extracted to disk, so that a crafted archive
can neither write outside a folder nor fill one. A damaged file is one sentence that names it.
"""

import gzip
import io
import struct
import tarfile
import wave
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from tcmax.errors import TcmaxError
from tcmax.records.files import explained

# Type codes of the idx format (third byte of the header); the data are big-endian.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def gunzip(path: Path, limit_bytes: int) -> bytes:
    """The uncompressed content of a .gz file.

    Raises TcmaxError when the file is absent, truncated, corrupt, or holds more than `limit_bytes`.
    """
    try:
        with explained("read", path), gzip.open(path) as stream:
            content = stream.read(limit_bytes + 1)
    except TcmaxError as error:
        # BadGzipFile is an OSError without a number: not the operating system refused, the content is wrong.
        if isinstance(error.__cause__, gzip.BadGzipFile):
            raise TcmaxError(f"{path} is not a valid gzip file ({error.__cause__}).") from error
        raise
    except (EOFError, zlib.error) as error:
        raise TcmaxError(f"{path} is truncated or corrupt ({error}).") from error
    if len(content) > limit_bytes:
        raise TcmaxError(f"{path} unpacks to more than the {limit_bytes:,} bytes expected of it.")
    return content


def idx_array(content: bytes, origin: Path) -> np.ndarray:
    """The array of an (uncompressed) idx file, the format of MNIST, in native byte order.

    `origin` is the file named in an error.
    """
    try:
        zero, code, n_axes = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{n_axes}I", content, 4)
        dtype = np.dtype(_IDX_TYPES[code])
        if zero != 0:
            raise ValueError("wrong magic number")
        array = np.frombuffer(content, dtype=dtype, offset=4 + 4 * n_axes).reshape(shape)
    except (struct.error, KeyError, ValueError) as error:
        raise TcmaxError(f"{origin} is not an idx file ({error}).") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def tar_files(path: Path, rename: Callable[[str], str | None], limit_bytes: int) -> dict[str, bytes]:
    """Chosen files of a tar archive (plain or compressed), read without extraction.

    rename: member path -> the key to return it under, or None to pass it over.
    limit_bytes: bound on the sum of the sizes of all members.

    Raises TcmaxError when the archive is absent, damaged or too large, when any member's path is absolute or climbs
    with "..", or when a chosen member is not a regular file (a link, a device) or appears twice.
    """
    chosen: dict[str, bytes] = {}
    total = 0
    try:
        with explained("read", path), tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or "\\" in member.name or "\0" in member.name:
                    raise TcmaxError(f"{path} holds the unsafe path {member.name!r}; nothing was read from it.")
                total += member.size
                if total > limit_bytes:
                    raise TcmaxError(f"{path} holds more than the {limit_bytes:,} bytes expected of it.")
                key = rename(member.name)
                if key is None:
                    continue
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None:
                    raise TcmaxError(f"{path}: {member.name} is not a regular file.")
                if key in chosen:
                    raise TcmaxError(f"{path} holds {key} twice.")
                chosen[key] = stream.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise TcmaxError(f"{path} is not a complete tar archive ({error}).") from error
    return chosen


def pcm16_samples(content: bytes, origin: str, sample_rate_hz: int) -> np.ndarray:
    """Samples (n,) int16 of a mono 16-bit PCM wav file at the stated rate; anything else is a TcmaxError."""
    try:
        with wave.open(io.BytesIO(content)) as recording:
            found = (recording.getnchannels(), recording.getsampwidth(), recording.getframerate())
            declared = recording.getnframes()
            samples = np.frombuffer(recording.readframes(declared), dtype="<i2").astype(np.int16, copy=False)
    except (wave.Error, EOFError, ValueError) as error:
        raise TcmaxError(f"{origin} is not a complete wav file ({error}).") from error
    if found != (1, 2, sample_rate_hz):
        raise TcmaxError(
            f"{origin} has {found[0]} channels of {8 * found[1]} bits at {found[2]} Hz, "
            f"not one channel of 16 bits at {sample_rate_hz} Hz."
        )
    if len(samples) != declared:
        raise TcmaxError(f"{origin} is truncated: {len(samples)} of {declared} samples.")
    return samples
