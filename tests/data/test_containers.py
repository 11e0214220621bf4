"""Damaged and hostile files, each answered in one sentence."""

import gzip
import io
import struct
import tarfile
import wave

import numpy as np
import pytest

from tcmax.data.containers import gunzip, idx_array, pcm16_samples, tar_files
from tcmax.errors import TcmaxError


def make_tar(path, *members, mode="w"):
    """Members are (name, bytes) for files, or TarInfo for anything else."""
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                information = tarfile.TarInfo(member[0])
                information.size = len(member[1])
                archive.addfile(information, io.BytesIO(member[1]))
    return path


def special(name, kind, target=""):
    information = tarfile.TarInfo(name)
    information.type = kind
    information.linkname = target
    return information


def everything(name):
    return name


def test_gunzip_returns_the_content(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"content"))
    assert gunzip(tmp_path / "a.gz", 7) == b"content"


def test_a_gzip_file_that_is_truncated_corrupt_or_none_is_named(tmp_path):
    good = gzip.compress(bytes(np.random.default_rng(0).integers(0, 256, 5_000, dtype=np.uint8)))
    flipped = bytearray(good)
    flipped[2_000] ^= 0xFF
    for name, content in {"cut.gz": good[:3_000], "flip.gz": bytes(flipped), "none.gz": b"no gzip at all"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TcmaxError, match=name):
            gunzip(tmp_path / name, 10_000)
    with pytest.raises(TcmaxError, match="cannot read"):
        gunzip(tmp_path / "absent.gz", 10_000)


def test_a_gzip_bomb_is_refused_at_the_limit(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(10**7)))
    with pytest.raises(TcmaxError, match="more than the 1,000 bytes"):
        gunzip(tmp_path / "bomb.gz", 1_000)


def test_idx_arrays_of_bytes_and_of_big_endian_integers(tmp_path):
    small = struct.pack(">HBB", 0, 0x08, 2) + struct.pack(">2I", 2, 3) + bytes(range(6))
    np.testing.assert_array_equal(idx_array(small, tmp_path), np.arange(6).reshape(2, 3))
    large = struct.pack(">HBB", 0, 0x0C, 1) + struct.pack(">I", 3) + struct.pack(">3i", 1, -2, 70_000)
    np.testing.assert_array_equal(idx_array(large, tmp_path), [1, -2, 70_000])
    assert idx_array(large, tmp_path).dtype == np.int32


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        struct.pack(">HBB", 0, 0x08, 1) + struct.pack(">I", 5) + bytes(4),  # too short
        struct.pack(">HBB", 0, 0x08, 1) + struct.pack(">I", 5) + bytes(6),  # too long
        struct.pack(">HBB", 0, 0x07, 1) + struct.pack(">I", 1) + bytes(1),  # no such type
        struct.pack(">HBB", 9, 0x08, 1) + struct.pack(">I", 1) + bytes(1),  # wrong magic number
    ],
)
def test_what_is_no_idx_file_is_refused(content, tmp_path):
    with pytest.raises(TcmaxError, match="is not an idx file"):
        idx_array(content, tmp_path / "x")


def test_chosen_files_are_read_from_plain_and_compressed_archives(tmp_path):
    for mode in ("w", "w:gz"):
        path = make_tar(tmp_path / "a.tar", ("top/a.wav", b"one"), ("top/b.txt", b"two"), mode=mode)
        chosen = tar_files(path, lambda name: name[4:] if name.endswith("wav") else None, 100)
        assert chosen == {"a.wav": b"one"}


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "a\\..\\evil"])
def test_a_path_that_leaves_the_archive_is_refused_even_when_not_chosen(name, tmp_path):
    path = make_tar(tmp_path / "a.tar", ("good", b"1"), (name, b"2"))
    with pytest.raises(TcmaxError, match="unsafe path"):
        tar_files(path, lambda member: member if member == "good" else None, 100)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tar"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_chosen_link_device_or_folder_is_refused(kind, tmp_path):
    path = make_tar(tmp_path / "a.tar", ("target", b"1"), special("chosen", kind, "target"))
    with pytest.raises(TcmaxError, match="chosen is not a regular file"):
        tar_files(path, everything, 100)


def test_links_that_nobody_chose_are_passed_over(tmp_path):
    path = make_tar(tmp_path / "a.tar", special("link", tarfile.SYMTYPE, "/etc/passwd"), ("good", b"1"))
    assert tar_files(path, lambda name: name if name == "good" else None, 100) == {"good": b"1"}


def test_an_archive_larger_than_the_limit_or_with_a_file_twice_is_refused(tmp_path):
    with pytest.raises(TcmaxError, match="more than the 5 bytes"):
        tar_files(make_tar(tmp_path / "a.tar", ("a", b"123"), ("b", b"456")), everything, 5)
    with pytest.raises(TcmaxError, match="holds a twice"):
        tar_files(make_tar(tmp_path / "b.tar", ("a", b"123"), ("a", b"456")), everything, 100)


def test_a_damaged_archive_is_named(tmp_path):
    whole = make_tar(tmp_path / "a.tar", ("a", bytes(5_000))).read_bytes()
    zipped = make_tar(tmp_path / "a.tgz", ("a", np.random.default_rng(0).bytes(5_000)), mode="w:gz").read_bytes()
    for name, content in {"cut.tar": whole[:3_000], "cut.tgz": zipped[:3_000], "no.tar": b"nothing" * 200}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TcmaxError, match=name):
            tar_files(tmp_path / name, everything, 10_000)


def wav(n_samples=100, channels=1, width=2, rate=8_000):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(np.arange(n_samples * channels * width, dtype=np.uint8).tobytes())
    return stream.getvalue()


def test_wav_samples_are_read_as_signed_little_endian_integers():
    samples = pcm16_samples(wav(3), "x", 8_000)
    assert samples.tolist() == [0x0100, 0x0302, 0x0504]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (wav(channels=2), "2 channels of 16 bits"),
        (wav(width=1), "1 channels of 8 bits"),
        (wav(rate=16_000), "16000 Hz"),
        (wav(100)[:-50], "truncated: 75 of 100 samples"),
        (b"RIFF", "not a complete wav"),
        (b"", "not a complete wav"),
    ],
)
def test_another_sound_format_or_a_damaged_one_is_refused(content, message):
    with pytest.raises(TcmaxError, match=message):
        pcm16_samples(content, "x.wav", 8_000)
