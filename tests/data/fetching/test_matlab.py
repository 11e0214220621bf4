"""MATLAB files as SciPy writes them, and damaged ones."""

import io
import struct

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from tcmax.data.fetching.matlab import matlab_arrays
from tcmax.errors import TcmaxError

LIMIT = 1 << 20


def written(compress=False, **variables):
    stream = io.BytesIO()
    scipy.io.savemat(stream, variables, do_compression=compress)
    return stream.getvalue()


@pytest.mark.parametrize("compress", [False, True])
def test_numbers_are_read_whatever_their_type_and_place(compress, tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 100, (3, 5)).astype(kind) for kind in ("u1", "i2", "u2", "i4", "i8", "f4", "f8")]
    arrays.append(rng.standard_normal((4, 1)))
    cell = np.empty((1, 3), dtype=object)
    cell[0] = [rng.standard_normal((2, 6)), np.arange(4.0)[None], np.zeros((0, 3))]
    nested = np.empty((1, 1), dtype=object)
    nested[0, 0] = np.array([[7.0]])
    outer = np.empty((1, 1), dtype=object)
    outer[0, 0] = nested
    sparse = scipy.sparse.random(7, 9, 0.3, format="csc", rng=rng)
    variables = {f"v{k}": array for k, array in enumerate(arrays)}
    content = written(compress, **variables, name="text", cell=cell, outer=outer, sparse=sparse)
    found = matlab_arrays(content, tmp_path, LIMIT)
    expected = [*arrays, *cell[0], np.array([[7.0]]), sparse.toarray()]
    assert len(found) == len(expected)
    for array, other in zip(found, expected, strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)


def test_what_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(TcmaxError, match=r"x\.mat is not a MATLAB file of level 5"):
        matlab_arrays(b"<html>" * 50, tmp_path / "x.mat", LIMIT)
    newer = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF"
    with pytest.raises(TcmaxError, match="not a MATLAB file of level 5"):
        matlab_arrays(newer, tmp_path / "x.mat", LIMIT)


@pytest.mark.parametrize("compress", [False, True])
def test_a_cut_or_too_large_file_is_refused(compress, tmp_path):
    content = written(compress, X=np.random.default_rng(0).standard_normal((40, 50)))
    with pytest.raises(TcmaxError, match=r"is a damaged MATLAB file"):
        matlab_arrays(content[: len(content) // 2], tmp_path, LIMIT)
    with pytest.raises(TcmaxError, match="more than is expected"):
        matlab_arrays(content, tmp_path, 10_000)
    assert len(matlab_arrays(content, tmp_path, 40_000)) == 1


def test_a_small_file_cannot_ask_for_much_memory(tmp_path):
    bomb = written(True, X=np.zeros((300, 300)))
    assert len(bomb) < 2_000
    with pytest.raises(TcmaxError, match="more than is expected"):
        matlab_arrays(bomb, tmp_path, 100_000)
    sparse = bytearray(written(False, X=scipy.sparse.csc_matrix(([1.0], ([0], [0])), (3, 2))))
    place = bytes(sparse).index(struct.pack("<2i", 3, 2))
    sparse[place : place + 4] = struct.pack("<i", 2**30)
    with pytest.raises(TcmaxError, match="more than is expected"):
        matlab_arrays(bytes(sparse), tmp_path, LIMIT)


def test_cells_within_cells_have_an_end(tmp_path):
    for depth, refused in ((4, False), (5, True)):
        value = np.array([[1.0]])
        for _ in range(depth):
            cell = np.empty((1, 1), dtype=object)
            cell[0, 0] = value
            value = cell
        content = written(False, X=value)
        if refused:
            with pytest.raises(TcmaxError, match="cells lie too deep in cells"):
                matlab_arrays(content, tmp_path, LIMIT)
        else:
            assert len(matlab_arrays(content, tmp_path, LIMIT)) == 1


def test_noise_in_a_file_is_an_error_or_numbers_and_nothing_else(tmp_path):
    content = written(False, X=np.arange(6.0).reshape(2, 3), Y=np.array([[1, 2]], dtype="u1"))
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(128, len(content), 3):
            damaged[place] = rng.integers(256)
        try:
            found = matlab_arrays(bytes(damaged), tmp_path, LIMIT)
        except TcmaxError:
            refused += 1
        else:
            assert sum(array.nbytes for array in found) <= LIMIT
    assert 0 < refused < 300
