"""The embedded digits: real images, cut without loss, split by a rule that anybody can repeat."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tcmax.data import digits

LOADERS = {"digits-halves": digits.halves, "digits-quadrants": digits.quadrants, "digits-noisy": digits.noisy}


@pytest.fixture(scope="module")
def loaded():
    return {name: load() for name, load in LOADERS.items()}


def test_the_cuts_put_together_are_the_images(loaded):
    images = load_digits().images / 16
    halves, quadrants = loaded["digits-halves"].inputs, loaded["digits-quadrants"].inputs
    np.testing.assert_array_equal(np.concatenate([halves["left"], halves["right"]], axis=2), images.astype("f4"))
    assert (halves["left"].shape[2], halves["right"].shape[2]) == (5, 3)
    top = np.concatenate([quadrants["top_left"], quadrants["top_right"]], axis=2)
    bottom = np.concatenate([quadrants["bottom_left"], quadrants["bottom_right"]], axis=2)
    np.testing.assert_array_equal(np.concatenate([top, bottom], axis=1), images.astype("f4"))
    np.testing.assert_array_equal(loaded["digits-halves"].labels, load_digits().target)


def test_the_noise_is_gaussian_and_the_same_at_every_call(loaded):
    noisy, clean = loaded["digits-noisy"].inputs, loaded["digits-halves"].inputs
    noise = np.concatenate([(noisy[name] - clean[name]).ravel() for name in ("left", "right")])
    assert noise.std() == pytest.approx(0.4, rel=0.01)
    assert abs(noise.mean()) < 5 * 0.4 / np.sqrt(noise.size)
    assert digits.noisy().inputs["left"].tobytes() == noisy["left"].tobytes()


def test_the_split_follows_the_stated_rule(loaded):
    order = sorted(range(1797), key=lambda index: hashlib.sha256(f"digits/{index}".encode()).hexdigest())
    for dataset in loaded.values():
        fold = dataset.folds[0]
        assert (sorted(order[:400]), sorted(order[400:600])) == (fold.train.tolist(), fold.val.tolist())
        assert fold.test.tolist() == sorted(order[600:])
        assert len(fold.test) == 1197


def test_every_class_is_in_every_part(loaded):
    dataset = loaded["digits-halves"]
    for part in ("train", "val", "test"):
        assert np.bincount(dataset.labels[dataset.folds[0].part(part)], minlength=10).min() >= 10


def test_facts_say_that_writers_are_unknown(loaded):
    for name, dataset in loaded.items():
        assert dataset.id == name
        assert any("writer" in fact for fact in dataset.facts)


def test_the_images_are_those_of_scikit_learns_loader() -> None:
    images, labels = digits._images()
    oracle = load_digits()
    assert np.array_equal(images, (oracle.images / 16).astype(np.float32))
    assert np.array_equal(labels, oracle.target)
