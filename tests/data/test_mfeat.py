"""mfeat as loaded from the real file."""

import hashlib

import numpy as np
import pytest

from tcmax.data import DATASETS
from tcmax.data.mfeat import FILE, load


@pytest.fixture(scope="module")
def root(data_with):
    return data_with(FILE.file)


@pytest.fixture(scope="module")
def dataset(root):
    return load(6, root)


def test_every_number_of_views_has_an_id_and_the_weakest_come_first(root, monkeypatch):
    monkeypatch.setenv("TCMAX_DATA", str(root))
    views = {n_views: DATASETS.load(f"mfeat-{n_views}")() for n_views in range(2, 7)}
    assert views[2].modalities == ("mor", "fou")
    assert views[6].modalities == ("mor", "fou", "zer", "kar", "fac", "pix")
    for n_views, dataset in views.items():
        assert dataset.id == f"mfeat-{n_views}"
        assert len(dataset.modalities) == n_views
        assert dataset.folds[0].test.tolist() == views[2].folds[0].test.tolist()
    assert DATASETS.canonical("mfeat") == "mfeat-6"


def test_every_class_has_its_share_of_every_part(dataset):
    fold = dataset.folds[0]
    for part, size in (("train", 20), ("val", 20), ("test", 160)):
        assert np.abs(np.bincount(dataset.labels[fold.part(part)], minlength=10) - size).max() <= 1
    assert len(fold.train) + len(fold.val) + len(fold.test) == 2_000


def test_rows_that_are_equal_in_all_views_share_an_image_and_a_part(dataset, root):
    with np.load(root / FILE.file) as stored:
        views = [stored[view] for view in ("pix", "fou", "fac", "zer", "kar", "mor")]  # each is read once
    rows = [b"".join(view[row].tobytes() for view in views) for row in range(2_000)]
    seen, pairs = {}, []
    for row, content in enumerate(rows):
        if content in seen:
            pairs.append((seen[content], row))
        seen[content] = row
    assert len(pairs) == 6
    part = np.empty(2_000, dtype="U5")
    for name in ("train", "val", "test"):
        part[dataset.folds[0].part(name)] = name
    for one, other in pairs:
        assert dataset.groups["image"][one] == dataset.groups["image"][other]
        assert part[one] == part[other]
    assert len(np.unique(dataset.groups["image"])) == 1_994
    assert "0 items of test are byte-identical to a train item" in dataset.facts


def test_the_split_follows_the_stated_hash(dataset):
    images = dataset.groups["image"]
    order = sorted(
        np.flatnonzero(dataset.labels == 3),
        key=lambda row: hashlib.sha256(f"mfeat/{images[row]}".encode()).hexdigest(),
    )
    train = set(dataset.folds[0].train.tolist())
    assert set(order[:20]) <= train
    assert not set(order[21:]) & train


def test_facts_say_what_the_split_cannot_do(dataset):
    assert any("no writer-disjoint split" in fact for fact in dataset.facts)
    assert any("No split comes with the set" in fact for fact in dataset.facts)


def test_the_decoded_dataset_has_the_same_bytes_on_every_machine(root):
    assert load(2, root).fingerprint() == "6660cb0b53c248dd06539e661a5249592991e552cf5c82d7a9b3004f7a913900"
