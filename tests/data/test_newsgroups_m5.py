"""newsgroups-m5 as loaded from the real file."""

import numpy as np
import pytest

from tcmax.data.newsgroups_m5 import FILE, load


@pytest.fixture(scope="module")
def root(data_with):
    return data_with(FILE.file)


@pytest.fixture(scope="module")
def dataset(root):
    return load(root)


def test_twenty_documents_of_every_class_train_ten_validate_and_seventy_test(dataset):
    fold = dataset.folds[0]
    for part, size in (("train", 20), ("val", 10), ("test", 70)):
        assert np.bincount(dataset.labels[fold.part(part)]).tolist() == [size] * 5


def test_inputs_are_logarithms_of_the_counts(dataset, root):
    with np.load(root / FILE.file) as stored:
        for view in dataset.modalities:
            np.testing.assert_allclose(np.expm1(dataset.inputs[view].astype(float)), stored[view], rtol=1e-3)


def test_facts_count_equal_rows_of_a_view_and_warn_of_the_words_chosen_with_labels(dataset, root):
    fold, shared = dataset.folds[0], []
    with np.load(root / FILE.file) as stored:
        for view in ("view1", "view2", "view3"):
            equal = (stored[view][fold.test][:, None] == stored[view][fold.train][None]).all(axis=2)
            shared.append(f"{equal.any(axis=1).sum()} in {view}")
    assert f"test items whose row of one view equals a train item's: {', '.join(shared)}" in dataset.facts
    assert any("labels of all 500 documents" in fact for fact in dataset.facts)


def test_the_decoded_dataset_has_the_same_bytes_on_every_machine(dataset):
    assert dataset.fingerprint() == "53dce4f25ae5fe96b38236384d73ebea92bf79bccc1d3df79c4be791cc5880ac"
