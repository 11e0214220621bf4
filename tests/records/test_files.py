"""Writing is all or nothing, and what the operating system refuses becomes one sentence."""

import errno
import json
import os
import stat
import subprocess
import sys

import pytest

from tcmax.errors import TcmaxError
from tcmax.records.files import atomic_path, explained, read_json, sha256, write_bytes, write_json, write_text


def test_a_file_appears_whole_with_its_folders(tmp_path):
    write_text(tmp_path / "a" / "b" / "note.txt", "é\n")
    assert (tmp_path / "a" / "b" / "note.txt").read_bytes() == "é\n".encode()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["note.txt"]


def test_a_failed_write_keeps_the_old_content_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "kept.txt"
    write_text(path, "old")

    def interrupted():
        with atomic_path(path) as temporary:
            temporary.write_text("half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_the_old_content_until_the_new_is_complete(tmp_path):
    path = tmp_path / "seen.txt"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # a rename across file systems would not be atomic
    assert path.read_text() == "new"


def test_content_and_folder_are_flushed_before_and_after_the_rename(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append(("fsync", os.fstat(handle).st_mode)), fsync(handle)))
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda self, target: (events.append(("rename", 0)), replace(self, target))
    )
    write_text(tmp_path / "a.txt", "x")
    kinds = [(name, stat.S_ISDIR(mode)) for name, mode in events]
    assert kinds == [("fsync", False), ("rename", False), ("fsync", True)]


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "quota is used up")])
def test_a_full_disk_is_one_sentence_and_keeps_the_old_content(tmp_path, number, reason):
    path = tmp_path / "kept.txt"
    write_text(path, "old")
    with pytest.raises(TcmaxError, match=f"cannot write .*kept.txt: .*{reason}.*\\.$"), atomic_path(path):
        raise OSError(number, "whatever")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(TcmaxError, match=r"cannot write .*taken: a folder stands there\."):
        write_text(tmp_path / "taken", "x")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(TcmaxError, match=r"cannot write .*: a file stands where a folder is needed\."):
        write_text(tmp_path / "taken" / "x.txt", "x")
    with pytest.raises(TcmaxError, match="a part of the path is a file, not a folder"):
        write_text(tmp_path / "taken" / "deeper" / "x.txt", "x")


def test_an_unknown_refusal_is_told_in_the_words_of_the_system(tmp_path):
    with pytest.raises(TcmaxError, match=r"cannot read x: input/output error\."), explained("read", "x"):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(("umask", "mode"), [("022", 0o644), ("027", 0o640), ("077", 0o600)])
def test_results_are_as_readable_as_the_users_umask_says(tmp_path, umask, mode):
    code = "import sys; from tcmax.records.files import write_text; write_text(sys.argv[1], 'x')"
    target = tmp_path / "shared.txt"
    subprocess.run(["sh", "-c", f'umask {umask}; exec "$@"', "sh", sys.executable, "-c", code, str(target)], check=True)
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_equal_values_give_equal_json_bytes_whatever_their_key_order(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "ü"})
    write_json(tmp_path / "b.json", {"a": "ü", "b": [1, 2.5]})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"a": "ü", "b": [1, 2.5]}


def test_a_number_that_json_does_not_have_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"{", b"", b"\x80\x81\xfe", b'{"a": 1} trailing', b"\xff\xfe{}"])
def test_a_damaged_json_file_is_named(tmp_path, content):
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(TcmaxError, match=r"bad\.json is not valid JSON"):
        read_json(tmp_path / "bad.json")


def test_a_missing_file_is_named(tmp_path):
    for reader in (read_json, sha256):
        with pytest.raises(TcmaxError, match=r"cannot read .*absent: no such file or directory\."):
            reader(tmp_path / "absent")


def test_the_checksum_is_the_published_one_of_its_bytes(tmp_path):
    write_bytes(tmp_path / "abc", b"abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_json_numbers_survive_a_round_trip_exactly(tmp_path):
    values = [0.1, 1e-300, 2**60, -1.7976931348623157e308]
    write_json(tmp_path / "n.json", values)
    assert read_json(tmp_path / "n.json") == values
    assert json.loads((tmp_path / "n.json").read_text()) == values
