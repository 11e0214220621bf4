"""mosi-features as loaded from the real file."""

import hashlib

import numpy as np
import pytest

from tcmax.data.mosi import FILE, load


@pytest.fixture(scope="module")
def root(data_with):
    return data_with(FILE.file)


@pytest.fixture(scope="module")
def dataset(root):
    return load(root)


def test_test_is_the_sources_and_twelve_of_its_train_videos_validate(dataset, root):
    with np.load(root / FILE.file) as stored:
        video, split = stored["video_id"], stored["split"]
    fold = dataset.folds[0]
    np.testing.assert_array_equal(fold.test, np.flatnonzero(split))
    listed = sorted(set(video[split == 0]), key=lambda one: hashlib.sha256(f"mosi/{one}".encode()).hexdigest())
    assert set(video[fold.val]) == set(listed[:12])
    assert set(video[fold.train]) == set(listed[12:])
    assert (len(listed), len(fold.train) + len(fold.val), len(fold.test)) == (62, 1_447, 752)


def test_columns_without_variation_on_train_are_zero(dataset, root):
    with np.load(root / FILE.file) as stored:
        constant = np.ptp(stored["video"], axis=0) == 0
    assert constant.sum() == 32
    assert not dataset.inputs["video"][:, constant].any()


def test_facts_give_the_shift_of_classes(dataset):
    positive = {part: dataset.labels[dataset.folds[0].part(part)].mean() for part in ("train", "val", "test")}
    assert positive["test"] == pytest.approx(0.621, abs=5e-4)
    listed = np.concatenate([dataset.folds[0].train, dataset.folds[0].val])
    assert dataset.labels[listed].mean() == pytest.approx(0.490, abs=5e-4)
    assert f"positive utterances: {', '.join(f'{part} {share:.1%}' for part, share in positive.items())}" in (
        dataset.facts
    )
    assert "0 of 31 video ids in test also occur in train" in dataset.facts


def test_the_decoded_dataset_has_the_same_bytes_on_every_machine(dataset):
    assert dataset.fingerprint() == "d0aaf1102edfc0dbbc42e6bb5d2d8f2da45ea89c17ed697592e32b6ee332254e"
