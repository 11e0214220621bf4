"""Numbers of a MATLAB file (level 5, as every version from 5 to 7 writes unless told otherwise).

Only arrays of numbers are taken, in the order of the file, those inside cells included; names, text and structures are
passed over. The file comes from elsewhere, so every length is checked before it is believed.
"""

import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from tcmax.errors import TcmaxError

_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
# Classes of arrays: what their numbers are, whatever smaller type they are stored in.
_CELL, _SPARSE = 1, 5
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_DEEPEST = 4  # cells within cells


def matlab_arrays(content: bytes, origin: Path, limit_bytes: int) -> list[np.ndarray]:
    """Every real array of numbers with at most `limit_bytes` in all; sparse ones are filled up.

    origin: the file named in an error. Raises TcmaxError when the content is not such a file, is damaged or too large.
    """
    if len(content) < _HEADER_BYTES or content[124:128] != b"\x00\x01IM":
        raise TcmaxError(f"{origin} is not a MATLAB file of level 5 with the lowest byte first.")
    budget = [limit_bytes]
    try:
        return list(_arrays(memoryview(content)[_HEADER_BYTES:], budget, 0))
    except (ValueError, IndexError, KeyError, zlib.error) as error:
        raise TcmaxError(f"{origin} is a damaged MATLAB file ({error}).") from error


def _arrays(data: memoryview, budget: list[int], depth: int) -> Iterator[np.ndarray]:
    for kind, body in _elements(data):
        if kind == _COMPRESSED:
            unpack = zlib.decompressobj()
            whole = unpack.decompress(body, budget[0] + 1)
            _spend(budget, len(whole))
            if not unpack.eof:
                raise ValueError("compressed data are cut off")
            yield from _arrays(memoryview(whole), budget, depth)
        elif kind == _MATRIX and len(body):
            yield from _matrix(body, budget, depth)


def _matrix(body: memoryview, budget: list[int], depth: int) -> Iterator[np.ndarray]:
    parts = list(_elements(body))
    if len(parts) < 3:
        raise ValueError("an array has no shape")
    kind = parts[0][1][0]
    shape = tuple(_numbers(*parts[1]).tolist())
    if kind == _CELL:
        if depth == _DEEPEST:
            raise ValueError("cells lie too deep in cells")
        inner = (part for part in parts[3:] if part[0] == _MATRIX)
        for _, cell in inner:
            if len(cell):
                yield from _matrix(cell, budget, depth + 1)
    elif kind == _SPARSE:
        rows, starts, values = (_numbers(*part) for part in parts[3:6])
        n_rows, n_columns = shape
        _spend(budget, 8 * n_rows * n_columns)
        filled = np.zeros(shape)
        columns = np.repeat(np.arange(n_columns), np.diff(starts))
        filled[rows[: len(columns)], columns] = values[: len(columns)]
        yield filled
    elif kind in _CLASSES:
        if min(shape) < 0:
            raise ValueError("a shape is negative")
        _spend(budget, prod(shape) * np.dtype(_CLASSES[kind]).itemsize)
        yield _numbers(*parts[3]).astype(_CLASSES[kind]).reshape(shape, order="F")


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(type, body) one after the other; small ones keep their body within the tag."""
    place = 0
    while place + 8 <= len(data):
        first, second = (int.from_bytes(data[place + at : place + at + 4], "little") for at in (0, 4))
        if first >> 16:
            yield first & 0xFFFF, data[place + 4 : place + 4 + (first >> 16)]
            place += 8
            continue
        if place + 8 + second > len(data):
            raise ValueError("an element goes beyond the end")
        yield first, data[place + 8 : place + 8 + second]
        # All but compressed elements are padded to eight bytes.
        place += 8 + second + (0 if first == _COMPRESSED else -second % 8)


def _numbers(kind: int, body: memoryview) -> np.ndarray:
    return np.frombuffer(body, dtype=f"<{_TYPES[kind]}")


def _spend(budget: list[int], n_bytes: int) -> None:
    budget[0] -= n_bytes
    if budget[0] < 0:
        raise ValueError("it unpacks to more than is expected of it")
