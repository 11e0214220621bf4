"""scikit-learn's handwritten digits, cut into modalities: 1,797 real 8x8 images that come with a dependency.

Three datasets share the images and the split:
- digits-halves: two modalities, columns 0-4 ("left") and columns 5-7 ("right");
- digits-quadrants: four modalities, the 4x4 corners;
- digits-noisy: the halves with fixed Gaussian noise (standard deviation 0.4 on the 0-1 grey scale).

Split rule: items are ordered by the SHA-256 of "digits/<index>"; the first 400 train, the next 200 validate, the
remaining 1,197 test. The rule needs no random generator, so it can be repeated in any language.
"""

import gzip
import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tcmax.data.base import Card, Dataset, Fold, overlap_facts
from tcmax.errors import TcmaxError
from tcmax.records.files import explained
from tcmax.seeding import generator

TRAIN, VALIDATION = 400, 200
NOISE_SD = 0.4  # grey levels, on a 0-1 scale

CARD = Card(
    title="Optical recognition of handwritten digits, cut into modalities",
    licence="CC BY 4.0 (UCI Machine Learning Repository); distributed with scikit-learn (BSD-3-Clause)",
    source="sklearn.datasets.load_digits: the test part of the UCI set, 1,797 images of 8x8 pixels",
    citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, doi:10.24432/C50P49",
    notes=("The 13 writers are not identified in the file: a writer can occur in train and test.",),
)


def _images() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 8, 8) float32 in [0, 1] and labels (1797,) int64."""
    # The file behind sklearn.datasets.load_digits, read without importing scikit-learn, which takes longer than a run.
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise TcmaxError("the digits come with scikit-learn, which is not installed: pip install 'tcmax[train]'.")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with explained("read", path), gzip.open(path, "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.int64)
    return (table[:, :64].reshape(-1, 8, 8) / 16.0).astype(np.float32), table[:, 64]


def _fold(n: int) -> Fold:
    order = np.array(sorted(range(n), key=lambda index: hashlib.sha256(f"digits/{index}".encode()).hexdigest()))
    train, val, test = np.split(order, [TRAIN, TRAIN + VALIDATION])
    return Fold(np.sort(train), np.sort(val), np.sort(test))


def _dataset(name: str, inputs: dict[str, np.ndarray], labels: np.ndarray) -> Dataset:
    plain = Dataset(
        id=name,
        inputs=inputs,
        labels=labels,
        class_names=tuple(str(digit) for digit in range(10)),
        items=np.array([f"digit-{index:04d}" for index in range(len(labels))]),
        folds=(_fold(len(labels)),),
        card=CARD,
    )
    facts = (*overlap_facts(plain), *CARD.notes)
    return Dataset(**{**plain.__dict__, "facts": facts})


def halves() -> Dataset:
    """Left (N, 8, 5) and right (N, 8, 3) columns."""
    images, labels = _images()
    return _dataset("digits-halves", {"left": images[:, :, :5], "right": images[:, :, 5:]}, labels)


def quadrants() -> Dataset:
    """The four (N, 4, 4) corners, named as on a page."""
    images, labels = _images()
    corners = {
        "top_left": images[:, :4, :4],
        "top_right": images[:, :4, 4:],
        "bottom_left": images[:, 4:, :4],
        "bottom_right": images[:, 4:, 4:],
    }
    return _dataset("digits-quadrants", corners, labels)


def noisy() -> Dataset:
    """The halves with noise that is part of the data: the same for every seed and method."""
    images, labels = _images()
    noise = generator("data", "digits-noisy", "noise").standard_normal(images.shape)
    images = (images + NOISE_SD * noise).astype(np.float32)
    return _dataset("digits-noisy", {"left": images[:, :, :5], "right": images[:, :, 5:]}, labels)
