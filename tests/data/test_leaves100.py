"""leaves100 as loaded from the real file."""

import numpy as np
import pytest

from tcmax.data.leaves100 import FILE, load


@pytest.fixture(scope="module")
def root(data_with):
    return data_with(FILE.file)


@pytest.fixture(scope="module")
def dataset(root):
    return load(root)


def test_four_leaves_of_every_species_train_two_validate_and_ten_test(dataset):
    fold = dataset.folds[0]
    for part, size in (("train", 4), ("val", 2), ("test", 10)):
        assert np.bincount(dataset.labels[fold.part(part)]).tolist() == [size] * 100


def test_views_are_those_of_the_file_up_to_a_line_per_column(dataset, root):
    train = dataset.folds[0].train
    with np.load(root / FILE.file) as stored:
        for view in ("margin", "shape", "texture"):
            raw, ours = stored[view], dataset.inputs[view]
            for column in range(64):
                expected = (raw[:, column] - np.mean(raw[train, column])) / np.std(raw[train, column])
                np.testing.assert_allclose(ours[:, column], np.clip(expected, -10, 10), atol=2e-4)


def test_facts_say_what_is_not_known(dataset):
    facts = " ".join(dataset.facts)
    assert "no plant-disjoint split" in facts
    assert "inferred" in facts
    assert not dataset.groups


def test_the_decoded_dataset_has_the_same_bytes_on_every_machine(dataset):
    assert dataset.fingerprint() == "b646ad915c088abd455fc91d1a148f4af046b73588b2e0f84f0c3de2105d3121"
