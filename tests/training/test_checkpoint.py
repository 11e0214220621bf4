"""Checkpoints: an interrupted run continues to identical bytes, and a checkpoint that does not fit is not used."""

import errno

import pytest
import runs
import tiny
import torch

from tcmax.errors import TcmaxError
from tcmax.training import checkpoint

IMAGES = {"left": (1, 4, 4), "right": (2, 4, 4)}
CNN = {"tiny": {"encoder": {"name": "cnn", "channels": [2]}}}
KEY = "0123456789abcdef"


class Killed(Exception):
    pass


def interrupted(path, epoch, make):
    """Train until the checkpoint after `epoch` epochs is written, then die."""
    run = make()

    def after_epoch(run):
        checkpoint.save(path, run, KEY)
        if run.state.epoch == epoch:
            raise Killed

    with pytest.raises(Killed):
        run.train(after_epoch)


CASES = {
    "separate selection": {"variant": "unimodal"},
    "sampled negatives": {"variant": "tcmax"},
    "noise": {"variant": "ogm-ge", "precision": "float64"},
    "buffers": {"variant": "joint", "dataset": tiny.dataset(IMAGES), "datasets": CNN},
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_a_run_resumed_after_any_epoch_ends_with_the_same_bytes(tmp_path, case):
    def make():
        return runs.make(**CASES[case])

    whole = runs.digest(make().train(lambda run: checkpoint.save(tmp_path / f"{run.state.epoch}.pt", run, KEY)))
    assert whole[2] is None
    for epoch in (1, 2, 3, 4):
        resumed = make()
        assert checkpoint.restore(tmp_path / f"{epoch}.pt", resumed, KEY)
        assert resumed.state.epoch == epoch
        assert runs.digest(resumed.train()) == whole


def test_a_run_may_be_interrupted_again_and_again(tmp_path):
    path = tmp_path / "c.pt"
    whole = runs.digest(runs.make("ogm-ge").train())
    for epoch in (1, 2, 3):

        def die(run, epoch=epoch):
            checkpoint.save(path, run, KEY)
            if run.state.epoch == epoch:
                raise Killed

        run = runs.make("ogm-ge")
        assert checkpoint.restore(path, run, KEY) is (epoch > 1)
        with pytest.raises(Killed):
            run.train(die)
    last = runs.make("ogm-ge")
    checkpoint.restore(path, last, KEY)
    assert last.state.epoch == 3
    assert runs.digest(last.train()) == whole


def test_a_methods_buffers_travel_with_the_checkpoint(tmp_path):
    def make():
        run = runs.make()
        run.method.register_buffer("history", torch.zeros(1, 3))
        return run

    run = make()
    run.method.history += 5
    checkpoint.save(tmp_path / "c.pt", run, KEY)
    other = make()
    assert checkpoint.restore(tmp_path / "c.pt", other, KEY)
    assert other.method.history.tolist() == [[5, 5, 5]]


def untouched(run):
    fresh = runs.make()
    return run.state == fresh.state and all(
        torch.equal(one, two) for one, two in zip(run.model.parameters(), fresh.model.parameters(), strict=True)
    )


@pytest.fixture
def saved(tmp_path):
    interrupted(tmp_path / "c.pt", 2, runs.make)
    return tmp_path / "c.pt"


def test_a_checkpoint_of_another_key_is_not_used(saved):
    run = runs.make()
    assert checkpoint.restore(saved, run, "another") is False
    assert untouched(run)
    assert checkpoint.restore(saved.with_name("absent.pt"), run, KEY) is False


def test_a_damaged_checkpoint_is_not_used(saved):
    whole = saved.read_bytes()
    broken = [whole[:length] for length in (0, 1, 4, 100, len(whole) // 2, len(whole) - 1)]
    broken += [b"text", b"\x80\x04.", b"PK\x03\x04" + bytes(60)]
    for start in range(0, len(whole), len(whole) // 40):  # a stretch overwritten, wherever it falls
        broken.append(whole[:start] + b"\xa5" * 40 + whole[start + 40 :])
    for content in broken:
        saved.write_bytes(content)
        run = runs.make()
        assert checkpoint.restore(saved, run, KEY) is False
        assert untouched(run)


def test_a_file_that_holds_something_else_is_not_used(saved):
    class Trap:
        def __reduce__(self):
            return (print, ("the trap ran",))

    for content in (torch.zeros(3), [1, 2], {"run_key": KEY}, {"run_key": KEY, "trap": Trap()}):
        torch.save(content, saved)
        run = runs.make()
        assert checkpoint.restore(saved, run, KEY) is False
        assert untouched(run)


def test_a_failed_save_keeps_the_previous_checkpoint(saved, monkeypatch):
    before = saved.read_bytes()

    def full(path, content):
        with path.open("wb") as stream:
            stream.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(TcmaxError, match=r"cannot write .*c\.pt: no space left on the device"):
        checkpoint.save(saved, runs.make(), KEY)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_checkpoints_are_written_at_the_configured_pace(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    written = []
    monkeypatch.setattr(checkpoint, "save", lambda path, run, key, place: written.append(run.state.epoch))

    def pace(seconds, per_epoch):
        written.clear()
        keep = checkpoint.every(seconds, [tmp_path / "c.pt"], [KEY])

        def after_epoch(run):
            clock[0] += per_epoch
            keep(run)

        runs.make(training=tiny.training(epochs=6)).train(after_epoch)
        return list(written)

    assert pace(0, 0) == [1, 2, 3, 4, 5]  # none after the last epoch: the run itself is written then
    assert pace(10, 4) == [3]
    assert pace(10, 5) == [2, 4]
    assert pace(1000, 5) == []


def test_a_diverged_run_leaves_no_checkpoint(tmp_path):
    keep = checkpoint.every(0, [tmp_path / "c.pt"], [KEY])
    runs.make(training=tiny.training(learning_rate=1e30)).train(keep)
    assert list(tmp_path.iterdir()) == []
