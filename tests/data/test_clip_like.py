"""Made-up CLIP features: sizes, and how often a modality shows the item's own class."""

import numpy as np

from tcmax.data import DATASETS
from tcmax.data.clip_like import load


def nearest(dataset, modality):
    """Class of the train items whose mean feature is the nearest, once that of strays is taken out by the median."""
    x, fold = dataset.inputs[modality].astype(float), dataset.folds[0]
    means = np.stack([np.median(x[fold.train][dataset.labels[fold.train] == label], axis=0) for label in range(3)])
    return np.argmax(x @ means.T - 0.5 * (means**2).sum(axis=1), axis=1)


def test_sizes_are_those_of_the_released_split():
    dataset = DATASETS.load("clip-like-features")()
    fold = dataset.folds[0]
    assert [len(fold.part(part)) for part in ("train", "val", "test")] == [1555, 518, 519]
    assert np.bincount(dataset.labels).tolist() == [724, 470, 1398]
    for array in dataset.inputs.values():
        assert array.shape == (2592, 1024)
        np.testing.assert_allclose(np.linalg.norm(array, axis=1), 1, rtol=1e-5)
    assert load().fingerprint() == dataset.fingerprint()


def test_a_modality_shows_the_class_as_often_as_stated():
    for shares in ({"image": 0.6, "text": 0.7}, {"image": 1.0, "text": 0.8}):
        dataset = load(shares)
        right = {modality: nearest(dataset, modality) == dataset.labels for modality in shares}
        for modality, share in shares.items():
            # Directions are orthogonal up to 1/32 and noise is spread over 1,024 axes: classes are told apart.
            assert abs(right[modality].mean() - share) < 4 * np.sqrt(0.25 / 2592) + 0.01
        if shares["image"] < 1:
            together = np.mean(right["image"] & right["text"])
            assert abs(together - shares["image"] * shares["text"]) < 4 * np.sqrt(0.25 / 2592) + 0.01
