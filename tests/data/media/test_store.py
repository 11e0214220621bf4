"""The tensor store: whole or resumable at any moment, equal bytes however it was made, nothing dropped in silence."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import stores
from stores import FromFiles, layout, rows_of, sources, tree

from tcmax.data.media.store import Effort, Layout, Store, array_path, build, make_shard, record_path
from tcmax.errors import TcmaxError

ANY = Effort(failed_share=1.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return sources(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def finished(source, tmp_path_factory):
    """A store of 23 items in 6 shards, made by one process without interruption."""
    return build(tmp_path_factory.mktemp("store") / "s", layout(), FromFiles(source))


def command(folder, source, processes, seconds=0.0):
    return [sys.executable, stores.__file__, str(folder), str(source), str(processes), str(seconds)]


def test_rows_come_back_as_they_were_made_in_any_order(finished, source):
    chosen = np.array([22, 0, 7, 7, 3, 21])
    expected = [rows_of((source / f"{row}.txt").read_bytes()) for row in chosen]
    for name in ("wave", "frames"):
        found = finished.rows(name, chosen)
        np.testing.assert_array_equal(found, np.stack([one[name] for one in expected]))
        assert found.dtype == expected[0][name].dtype
    assert finished.shape("frames") == (23, 2, 3)
    assert finished.items == layout().items
    assert finished.ready.all()
    assert finished.facts[22] == {"length": len("content of 22")}
    assert set(finished.sources[5]) == {"5.txt"}
    finished.verify()


def test_the_content_of_an_array_is_known_without_reading_it(finished, source, tmp_path):
    elsewhere = sources(tmp_path / "elsewhere")
    same = build(tmp_path / "same", layout(), FromFiles(elsewhere))
    (elsewhere / "20.txt").write_text("other content")
    changed = build(tmp_path / "changed", layout(), FromFiles(elsewhere))
    for array in ("wave", "frames"):
        assert same.content(array) == finished.content(array) != changed.content(array)
    assert finished.content("wave") != finished.content("frames")
    path = array_path(changed.folder, 3, "frames")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    changed.verify("wave")
    with pytest.raises(TcmaxError, match=r"00003\.frames\.npy is not the file that was written"):
        changed.verify("frames")


def test_three_processes_write_the_same_bytes_as_one(finished, source, tmp_path):
    build(tmp_path / "s", layout(), FromFiles(source), Effort(processes=3))
    assert tree(tmp_path / "s") == tree(finished.folder)


def test_another_place_gives_the_same_bytes(finished, tmp_path):
    elsewhere = sources(tmp_path / "elsewhere")
    build(tmp_path / "s", layout(), FromFiles(elsewhere))
    assert tree(tmp_path / "s") == tree(finished.folder)


def test_killed_at_random_moments_and_resumed_it_is_identical(finished, source, tmp_path):
    chance = random.Random(7)
    interrupted = 0
    for attempt in range(5):
        process = subprocess.Popen(
            command(tmp_path / "s", source, 1 + attempt % 2, 0.05), stderr=subprocess.DEVNULL, start_new_session=True
        )
        seen = len(list((tmp_path / "s" / "shards").glob("*.json")))
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "s" / "shards").glob("*.json"))) <= seen and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.1))
        # Every process at once, as when a machine is lost; or only the first, which orphans the others.
        with contextlib.suppress(ProcessLookupError):
            (os.kill if attempt % 2 else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
        interrupted += not (tmp_path / "s" / "manifest.json").exists()
    assert interrupted > 1, "the kills came too late to interrupt anything"
    subprocess.run(command(tmp_path / "s", source, 2), check=True, stderr=subprocess.DEVNULL)
    assert tree(tmp_path / "s") == tree(finished.folder)


def test_what_was_interrupted_is_not_taken_for_a_store(finished, source, tmp_path):
    make_shard(prepared(tmp_path / "s"), layout(), FromFiles(source), 0, {}, lambda row: None)
    with pytest.raises(TcmaxError, match=r"holds no finished store .* run `tcmax prepare DATASET --source MEDIA`"):
        Store(tmp_path / "s")


def prepared(folder):
    (folder / "shards").mkdir(parents=True)
    return folder


def test_a_finished_store_is_left_as_it_is(finished, source):
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*.*") if path.name != ".lock"}
    build(finished.folder, layout(), FromFiles(source))
    assert before == {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*.*") if path.name != ".lock"}


@pytest.mark.parametrize("harm", ["cut an array", "flip a bit", "cut a record", "lose an array", "lose the manifest"])
def test_a_store_that_was_harmed_is_repaired_and_until_then_found_out(finished, source, tmp_path, harm):
    folder = tmp_path / "s"
    build(folder, layout(), FromFiles(source))
    array = array_path(folder, 2, "wave")
    match harm:
        case "cut an array":
            array.write_bytes(array.read_bytes()[:-7])
        case "flip a bit":
            content = bytearray(array.read_bytes())
            content[-1] ^= 1
            array.write_bytes(content)
        case "cut a record":
            record_path(folder, 2).write_text(record_path(folder, 2).read_text()[:90])
        case "lose an array":
            array.unlink()
        case "lose the manifest":
            (folder / "manifest.json").unlink()
    with pytest.raises(TcmaxError, match=r"run `tcmax prepare|delete it and build it again|cannot read"):
        Store(folder).verify()
    build(folder, layout(), FromFiles(source))
    assert tree(folder) == tree(finished.folder)


def test_what_fails_is_listed_and_leaves_zeros_and_the_rest_is_made(tmp_path, capsys):
    source = sources(tmp_path / "source", _3="refuse", _8="nan", _9="bug")
    (source / "20.txt").unlink()
    store = build(tmp_path / "s", layout(), FromFiles(source), ANY)
    assert store.failed == {
        "item-3": "3.txt asks to be refused.",
        "item-8": "its wave holds NaN or infinite values.",
        "item-9": "unexpected ZeroDivisionError: in a library",
        "item-20": "20.txt is missing.",
    }
    listed = (tmp_path / "s" / "skipped.csv").read_text().splitlines()
    assert listed[0] == "item,reason"
    assert [line.partition(",")[0] for line in listed[1:]] == list(store.failed)
    assert np.flatnonzero(~store.ready).tolist() == [3, 8, 9, 20]
    assert (store.rows("wave", np.array([3, 8, 9, 20])) == 0).all()
    np.testing.assert_array_equal(store.rows("wave", np.array([4]))[0], rows_of(b"content of 4")["wave"])
    assert "a second (6/6)" in capsys.readouterr().err


def test_an_item_that_kills_its_process_or_hangs_is_listed_and_the_rest_is_made(tmp_path):
    source = sources(tmp_path / "source", _2="die", _9="hang")
    store = build(tmp_path / "s", layout(), FromFiles(source), Effort(2, failed_share=1.0, item_seconds=5.0))
    assert store.failed == {
        "item-2": "its process was killed by SIGSEGV",
        "item-9": "took longer than 5 seconds",
    }
    np.testing.assert_array_equal(store.rows("wave", np.array([3]))[0], rows_of(b"content of 3")["wave"])
    # It may have been the machine's fault: tried again without being asked.
    (source / "2.txt").write_text("content of 2")
    (source / "9.txt").write_text("content of 9")
    assert build(tmp_path / "s", layout(), FromFiles(source), ANY).failed == {}


def test_a_mended_source_is_tried_again_and_a_changed_one_too(finished, tmp_path):
    source = sources(tmp_path / "source", _3="refuse")
    (source / "20.txt").unlink()
    (source / "11.txt").write_text("another content of 11")
    assert len(build(tmp_path / "s", layout(), FromFiles(source), ANY).failed) == 2
    kept = array_path(tmp_path / "s", 1, "wave").stat().st_mtime_ns
    sources(source)
    build(tmp_path / "s", layout(), FromFiles(source), ANY)
    assert tree(tmp_path / "s") == tree(finished.folder)
    assert array_path(tmp_path / "s", 1, "wave").stat().st_mtime_ns == kept


def test_more_failures_than_allowed_stop_the_build_and_are_listed(tmp_path):
    source = sources(tmp_path / "source", _1="refuse", _2="refuse", _3="refuse")
    with pytest.raises(
        TcmaxError, match=r"3 of 23 items failed, more than the 10.0% allowed; the first is item-1 \(1.txt asks.*\)"
    ):
        build(tmp_path / "s", layout(), FromFiles(source), Effort(failed_share=0.1))
    assert len((tmp_path / "s" / "skipped.csv").read_text().splitlines()) == 4
    with pytest.raises(TcmaxError, match="holds no finished store"):
        Store(tmp_path / "s")
    assert build(tmp_path / "s", layout(), FromFiles(source), Effort(failed_share=0.2)).failed
    # When too many sources are not even there, nothing is made.
    with pytest.raises(TcmaxError, match="24 of 24 items failed"):
        build(tmp_path / "t", layout(24), FromFiles(tmp_path / "nowhere"), Effort(failed_share=0.9))
    assert list((tmp_path / "t" / "shards").iterdir()) == []
    assert not (tmp_path / "t" / "manifest.json").exists()


def test_a_finished_store_outlives_its_sources_but_not_worse_ones(tmp_path):
    source = sources(tmp_path / "source")
    before = tree(build(tmp_path / "s", layout(), FromFiles(source)).folder)
    with pytest.raises(TcmaxError, match=r"23 of 23 items failed, .* \(0.txt is missing\)\."):
        build(tmp_path / "s", layout(), FromFiles(tmp_path / "unmounted"))
    assert tree(tmp_path / "s") == before
    Store(tmp_path / "s").verify()
    sources(tmp_path / "source", _7="refuse")
    with pytest.raises(TcmaxError, match="1 of 23 items failed"):
        build(tmp_path / "s", layout(), FromFiles(source))
    with pytest.raises(TcmaxError, match="holds no finished store"):
        Store(tmp_path / "s")


def test_other_settings_or_items_do_not_continue_a_store(finished, source):
    with pytest.raises(TcmaxError, match=r"begun with other settings \(version\); remove it"):
        build(finished.folder, layout(version=2), FromFiles(source))
    with pytest.raises(TcmaxError, match=r"begun with other settings \(items_sha256, n_items\)"):
        build(finished.folder, layout(22), FromFiles(source))


def test_a_second_process_is_refused_while_one_prepares(source, tmp_path):
    process = subprocess.Popen(command(tmp_path / "s", source, 1, 0.2), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "s" / "settings.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with pytest.raises(TcmaxError, match="another process is preparing"):
            build(tmp_path / "s", layout(), FromFiles(source))
    finally:
        process.kill()
        process.wait()


def test_a_disk_that_refuses_stops_the_build_in_one_sentence_and_what_was_made_counts(finished, source, tmp_path):
    # A limit on the size of files stands for a full disk: the arrays can be written, the record cannot.
    limit = (1_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    try:
        with pytest.raises(TcmaxError, match=r"cannot write .*00000.*: file too large\."):
            build(tmp_path / "s", layout(), FromFiles(source))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    left = {path.name for path in (tmp_path / "s").rglob("*") if path.is_file()}
    assert left == {".lock", "settings.json", "00000.wave.npy", "00000.frames.npy"}
    build(tmp_path / "s", layout(), FromFiles(source))
    assert tree(tmp_path / "s") == tree(finished.folder)


def test_a_full_disk_is_named_and_leaves_no_half_shard(source, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TcmaxError, match=r"cannot write .*: no space left on the device"):
        make_shard(prepared(tmp_path / "s"), layout(), FromFiles(source), 0, {}, lambda row: None)
    assert list((tmp_path / "s" / "shards").iterdir()) == []


def test_a_source_that_cannot_be_read_is_one_failure(tmp_path):
    source = sources(tmp_path / "source")
    (source / "5.txt").unlink()
    (source / "5.txt").symlink_to("/proc/self/mem")
    store = build(tmp_path / "s", layout(), FromFiles(source), ANY)
    assert list(store.failed) == ["item-5"]


def test_nonsense_layouts_are_refused():
    with pytest.raises(ValueError, match="not unique"):
        Layout(stores.ARRAYS, ("a", "a"), {})
    with pytest.raises(ValueError, match="needs items"):
        Layout(stores.ARRAYS, (), {})


def test_rows_of_a_large_array_are_read_without_reading_all_of_it(source, tmp_path):
    store = build(tmp_path / "s", layout(), FromFiles(source))
    for shard in (0, 1, 3, 4, 5):
        array_path(store.folder, shard, "wave").unlink()
    assert len(store.rows("wave", np.array([8, 11]))) == 2
    with pytest.raises(TcmaxError, match=r"cannot read .*00003\.wave.npy"):
        store.rows("wave", np.array([8, 12]))
    assert Path(store.folder, "manifest.json").is_file()
