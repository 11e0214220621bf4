"""Multiple Features (mfeat): 2,000 handwritten numerals, each described by two to six feature views.

mfeat-K has the K weakest of six views, by the accuracy that each reaches alone with few labels: mor, fou, zer, kar,
fac, pix. Two views leave headroom; six saturate. Layout below the data root: mfeat/mfeat.npz.

Split: of each class 20 train, 20 validate and 160 test, in the order of the SHA-256 of "mfeat/<image>", where rows that
are equal in all six views count as one image. Views are standardised by the train part.
"""

from functools import partial
from pathlib import Path

import numpy as np

from tcmax.data.base import Card, Dataset
from tcmax.data.feature_sets import PublishedArrays, standardised, stratified_split, with_facts

CARD = Card(
    title="Multiple Features: handwritten numerals in feature views",
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source=(
        "UCI Machine Learning Repository, dataset 72, as collected in handwritten.mat of "
        "github.com/zhou572/Multi-view-Datasets at da48f8bf"
    ),
    citation="R.P.W. Duin, Multiple Features, UCI Machine Learning Repository, 1998, doi:10.24432/C5HC70",
    notes=(
        "No split comes with the set: of each class 20 train, 20 validate and the rest test, by a hash of the image.",
        "The writers are not known: a writer can occur in train and test, and no writer-disjoint split can be made.",
        "fou and zer are invariant to rotation and can hardly tell 6 from 9.",
    ),
)
VIEWS = ("mor", "fou", "zer", "kar", "fac", "pix")  # weakest first
TRAIN, VALIDATION = 20, 20  # of each class

FILE = PublishedArrays(
    "mfeat",
    "mfeat/mfeat.npz",
    {
        "pix": "65f115c64dc37c028e32119279a8300ef57cf84ed8c9a36057194a1e8953a325",
        "fou": "614e0339e254ab7b384606cea60fd6676a929588bed2dc7b11af8a4dd593d7a2",
        "fac": "a4ceac005bf55a94de392fa6e8a86ff2a55db80dbadb4d51e09f307849e25277",
        "zer": "57acc565f3401257795529ccb58c2dcf901b33da015e27203d5c5da36ce45741",
        "kar": "5af93dc3897a4edc0664af38b60657b51b73b9098a1d73394e281a8862749c91",
        "mor": "e4fe7135cc296971b2d76fc05a2b2689d9c3bbc1a7fa3c8c950158a043830db4",
        "label": "9aefcde1c4671fa32ca16c85ee49f2c934e94da4f694052b65ad37e03c16d77c",
        "dup_group": "251575b091fcde062171ad0407e98f55612528414f40f5c77c279e5a09ed524c",
    },
)


def load(n_views: int, root: Path | None = None) -> Dataset:
    """mfeat-K with K = n_views of 2 to 6: views (2000, d) float32; group "image", which six pairs of rows share.

    Raises TcmaxError as `PublishedArrays.read` does.
    """
    arrays = FILE.read(root)
    labels = arrays["label"].astype(np.int64)
    items = np.array([f"numeral-{row:04d}" for row in range(len(labels))])
    images = items.copy()
    for pair in range(arrays["dup_group"].max() + 1):
        twins = arrays["dup_group"] == pair
        images[twins] = items[twins][0]
    fold = stratified_split("mfeat", labels, images, TRAIN, VALIDATION)
    dataset = Dataset(
        id=f"mfeat-{n_views}",
        inputs={view: standardised(arrays[view], fold.train) for view in VIEWS[:n_views]},
        labels=labels,
        class_names=tuple(str(digit) for digit in range(10)),
        items=items,
        folds=(fold,),
        card=CARD,
        groups={"image": images},
    )
    return with_facts(dataset, "six pairs of rows are equal in all six views; each pair is on one side of the split")


two, three, four, five, six = (partial(load, n_views) for n_views in range(2, 7))
