"""Batches of datasets in files: what an item looks like, wherever its rows are held and whatever its batch."""

import dataclasses

import numpy as np
import pytest
import runs
import tiny
import torch
from PIL import Image
from single import Run

from tcmax.data.views import Feature, Flow, Frames, Sound, Stored
from tcmax.errors import TcmaxError
from tcmax.training import checkpoint, loading
from tcmax.training.loading import Residence, hold, part_of

CPU = torch.device("cpu")
N = 51  # of the tiny dataset
KEY = "0123456789abcdef"
ENCODERS = {
    "tiny": {"encoders": {"visual": {"name": "mlp", "hidden": [4]}, "audio": {"name": "mlp", "hidden": [4]}}},
}


def stored(array, view):
    return Stored(len(array), array.shape[1:], array.dtype, array.__getitem__, view, "content", lambda: None)


def clips(flow=False, sound=False, side=8):
    """The tiny dataset's items as clips of two frames, with flow or sound."""
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (N, 2, side, side, 3), dtype=np.uint8)
    modalities = {"visual": stored(frames, Frames(2, side, random.uniform(0.5, 2, N)))}
    if flow:
        fields = random.standard_normal((N, 6, side, side)).astype(np.float16)
        modalities["flow"] = stored(fields, Flow(3, side, False))
    else:
        modalities["audio"] = stored(random.standard_normal((N, 5)).astype(np.float32), Feature((5,)))
    if sound:
        waves = random.uniform(-1, 1, (N, 220_500)).astype(np.float32)
        modalities["sound"] = stored(waves, Sound(np.arange(N), (1, 129, 862)))
    return dataclasses.replace(tiny.dataset(), inputs={}, stored=modalities)


def part(dataset, place="ram", root=("tiny", 0, 0), rows=None, never_flipped=False, epoch=0, dtype=torch.float32):
    rows = dataset.folds[0].train if rows is None else np.asarray(rows)
    found = part_of(dataset, rows, CPU, dtype, hold(dataset, CPU, place), root, never_flipped)
    return found if epoch is None else found.in_epoch(epoch)


def all_of(part):
    """Inputs of a part's items, in its order."""
    batches = list(part.batches(np.arange(len(part.labels)), 7))
    return {name: torch.cat([batch.inputs[name] for batch in batches]) for name in batches[0].inputs}


def same(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_where_rows_are_held_changes_no_byte():
    dataset = clips(flow=True, sound=True)
    expected = all_of(part(dataset, "ram"))
    assert same(all_of(part(dataset, "mapped")), expected)
    on_gpu = Residence("gpu", {name: loading._on_gpu(CPU, one) for name, one in dataset.stored.items()})
    assert same(all_of(dataclasses.replace(part(dataset), residence=on_gpu)), expected)
    assert {name: (value.dtype, value.shape) for name, value in expected.items()} == {
        "visual": (torch.float32, (26, 2, 3, 8, 8)),
        "flow": (torch.float32, (26, 6, 8, 8)),
        "sound": (torch.float32, (26, 1, 129, 862)),
    }


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_too_where_rows_are_held_changes_no_byte():
    dataset, device = clips(flow=True, sound=True), torch.device("cuda")
    looks = []
    for place in ("gpu", "ram", "mapped"):
        held = hold(dataset, device, place)
        found = part_of(dataset, dataset.folds[0].train, device, torch.float32, held, ("tiny", 0, 0), False)
        looks.append(all_of(found.in_epoch(0)))
    assert same(looks[0], looks[1])
    assert same(looks[0], looks[2])
    level = 1.01 / (255 * 0.224)  # both forms of the crop are within one of torchvision's levels
    for name, value in all_of(part(dataset)).items():
        torch.testing.assert_close(looks[0][name].cpu(), value, atol=2 * level if name == "visual" else 1e-4, rtol=0)


def test_a_run_is_the_same_wherever_rows_are_held():
    data = clips()

    def train(place):
        held = hold(data, CPU, place)
        run = runs.make(dataset=data, datasets=ENCODERS, cls=lambda *arguments: Run(*arguments, held))
        return runs.digest(run.train())

    assert train("ram") == train("mapped") == runs.digest(runs.make(dataset=data, datasets=ENCODERS).train())


def test_a_resumed_run_ends_with_the_same_bytes(tmp_path):
    data = clips()

    def make():
        return runs.make("joint", dataset=data, datasets=ENCODERS)

    path = tmp_path / "c.pt"
    whole = runs.digest(make().train(lambda run: checkpoint.save(path, run, KEY) if run.state.epoch == 2 else None))
    resumed = make()
    assert checkpoint.restore(path, resumed, KEY)
    assert runs.digest(resumed.train()) == whole


def test_what_an_item_looks_like_depends_on_run_epoch_and_item_alone():
    dataset = clips()
    whole = all_of(part(dataset))
    order = np.random.default_rng(1).permutation(26)
    shuffled = part(dataset)
    for batch in shuffled.batches(order, 5):
        assert same(batch.inputs, {name: value[batch.rows] for name, value in whole.items()})
    again = shuffled.batch(torch.tensor([3, 3, 11]))  # a method looks at items outside a step
    assert same(again.inputs, {name: value[[3, 3, 11]] for name, value in whole.items()})
    assert torch.equal(again.labels, shuffled.labels[[3, 3, 11]])
    other_rows = all_of(part(dataset, rows=dataset.folds[0].train[5:9]))
    assert same(other_rows, {name: value[5:9] for name, value in whole.items()})
    renamed = dataclasses.replace(dataset, items=np.array([f"another-{row}" for row in range(N)]))
    others = {"epoch": 1}, {"root": ("tiny", 0, 1)}, {"root": ("tiny", 1, 0)}, {"root": ("other", 0, 0)}
    for changed in (part(renamed), *(part(dataset, **other) for other in others)):
        looks = all_of(changed)
        assert torch.equal(looks["audio"], whole["audio"])
        for one, other in zip(looks["visual"], whole["visual"], strict=True):
            assert not torch.equal(one, other)


def test_held_out_items_are_seen_whole_and_always_alike():
    dataset = clips(flow=True, sound=True)
    rows = dataset.folds[0].test
    plain = part(dataset, rows=rows, epoch=None)
    (seen,) = plain.in_order()
    levels = dataset.stored["visual"].rows(rows) / 255
    expected = (levels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(seen["visual"].numpy(), expected.transpose(0, 1, 4, 2, 3), atol=1e-5)
    np.testing.assert_array_equal(seen["flow"].numpy(), dataset.stored["flow"].rows(rows).astype("f4"))
    drawn = plain.draw(rows)
    assert drawn.starts["sound"].tolist() == rows.tolist()
    assert not drawn.mirrored["visual"].any()


def test_larger_stored_frames_are_shown_at_the_papers_size(monkeypatch):
    monkeypatch.setattr("tcmax.data.views.SIDE", 6)
    dataset = clips(flow=True)
    assert (dataset.shape("visual"), dataset.shape("flow")) == ((2, 3, 6, 6), (6, 6, 6))
    looks = all_of(part(dataset))
    assert (looks["visual"].shape, looks["flow"].shape) == ((26, 2, 3, 6, 6), (26, 6, 6, 6))
    whole = all_of(part(dataset, rows=[3], epoch=None))["visual"][0, 1]
    small = Image.fromarray(dataset.stored["visual"].rows(3)[1]).resize((6, 6), Image.Resampling.BILINEAR)
    expected = (np.asarray(small) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(whole.numpy(), expected.transpose(2, 0, 1), atol=1.1 / 255 / 0.224)


def draws(dataset, **settings):
    """Boxes, flips and starts of all rows in 20 epochs, each (20, N, ...) by modality."""
    found = [part(dataset, epoch=epoch, **settings).draw(np.arange(N)) for epoch in range(20)]
    for kind in ("boxes", "mirrored", "starts"):
        by_epoch = [getattr(drawn, kind) for drawn in found]
        yield {name: torch.stack([drawn[name] for drawn in by_epoch]) for name in by_epoch[0]}


def test_frames_of_a_clip_have_crops_and_flips_of_their_own():
    boxes, mirrored, starts = draws(clips(sound=True))
    one, two = mirrored["visual"].unbind(-1)
    n = one.numel()
    for event in (one, two, one ^ two):  # fair, and independent of each other
        assert event.double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(n))
    first, second = boxes["visual"].unbind(2)
    assert (first != second).any(-1).double().mean() > 0.9
    sound = starts["sound"].double()
    assert (sound.min() >= 0) & (sound.max() <= 110_250)
    assert sound.mean().item() == pytest.approx(55_125, abs=4 * 110_250 / np.sqrt(12 * n))


def test_a_clip_with_flow_is_mirrored_as_a_whole_and_as_released_its_frames_alone():
    dataset = clips(flow=True)
    _, mirrored, _ = draws(dataset)
    one, two = mirrored["visual"].unbind(-1)
    assert torch.equal(one, two)
    assert torch.equal(one, mirrored["flow"])
    assert one.double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(one.numel()))
    boxes, released, _ = draws(dataset, never_flipped=True)
    assert not released["flow"].any()
    assert (released["visual"][..., 0] ^ released["visual"][..., 1]).any()
    assert torch.equal(boxes["visual"], next(draws(dataset))["visual"])  # the switch moves no crop


def test_no_more_is_read_ahead_than_is_asked_for_soon():
    dataset, read = clips(), []
    visual = dataset.stored["visual"]
    noted = dataclasses.replace(visual, rows=lambda rows: read.append(len(rows)) or visual.rows(rows))
    watched = dataclasses.replace(dataset, stored={**dataset.stored, "visual": noted})
    for number, _ in enumerate(part(watched, "mapped").batches(np.arange(26), 2)):
        assert len(read) <= number + 1 + loading.AHEAD
    assert read == [2] * 13


def test_an_error_while_reading_ahead_ends_the_batches():
    dataset = clips()

    def broken(rows):
        raise TcmaxError("shard 3 is gone.")

    visual = dataclasses.replace(dataset.stored["visual"], rows=broken)
    lost = dataclasses.replace(dataset, stored={**dataset.stored, "visual": visual})
    with pytest.raises(TcmaxError, match="shard 3 is gone"):
        all_of(part(lost, "mapped"))


def test_rows_are_held_where_they_fit(monkeypatch):
    dataset = clips()
    need = sum(one.n_bytes for one in dataset.stored.values())
    assert need == N * (2 * 8 * 8 * 3 + 5 * 4)
    for free, place in ((2 * need, "ram"), (2 * need - 2, "mapped")):
        monkeypatch.setattr(loading, "free_memory", lambda free=free: free)
        assert hold(dataset, CPU).place == place
    monkeypatch.setattr(loading, "_on_gpu", lambda device, one: (device.type, one))
    for free, place in ((2 * need, "gpu"), (2 * need - 2, "mapped")):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * free))
        assert hold(dataset, torch.device("cuda")).place == place
    assert hold(dataset, CPU, "mapped").place == "mapped"
    with pytest.raises(TcmaxError, match="residence: gpu needs device: cuda"):
        hold(dataset, CPU, "gpu")


def test_free_memory_is_what_the_system_or_its_control_groups_leave(tmp_path, monkeypatch):
    here = loading.free_memory()
    assert 0 < here < 2**50
    group = tmp_path / "sys/fs/cgroup/job/step"
    group.mkdir(parents=True)
    for folder, limit, used in ((group, "max", "5"), (group.parent, "1000", "400")):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(used)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:  2 kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n")
    monkeypatch.setattr(loading, "Path", lambda path: tmp_path / str(path).lstrip("/"))
    assert loading.free_memory() == 600
    (group.parent / "memory.max").write_text("9000")
    assert loading.free_memory() == 2048
