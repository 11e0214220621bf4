"""One-hundred plant species leaves: 1,600 leaves in three views, margin, shape and texture, of 64 numbers each.

Layout below the data root: leaves100/leaves100.npz.

Split: of each species 4 leaves train, 2 validate and 10 test, in the order of the SHA-256 of "leaves100/<leaf>". With
four labels a class the views complement each other and none saturates. Views are standardised by the train part.
"""

from pathlib import Path

import numpy as np

from tcmax.data.base import Card, Dataset
from tcmax.data.feature_sets import PublishedArrays, standardised, stratified_split, with_facts

CARD = Card(
    title="One-hundred plant species leaves in three views",
    licence="CC BY 4.0 (UCI Machine Learning Repository)",
    source=(
        "UCI Machine Learning Repository, dataset 241, as collected in 100Leaves.mat of "
        "github.com/zhou572/Multi-view-Datasets at da48f8bf"
    ),
    citation=(
        "C. Mallah, J. Cope, J. Orwell, Plant Leaf Classification Using Probabilistic Integration of Shape, Texture "
        "and Margin Features, Signal Processing, Pattern Recognition and Applications, 2013"
    ),
    notes=(
        "No split comes with the set: of each species 4 leaves train, 2 validate and 10 test, by a hash of the leaf.",
        "Which leaves come from one plant is not known, so no plant-disjoint split can be made.",
        "The views have no names in the collected file; theirs are inferred from the ranges of their values.",
        "In the original release one texture row is missing; how it was filled here is not documented.",
    ),
)
TRAIN, VALIDATION = 4, 2  # of the 16 leaves of a species

FILE = PublishedArrays(
    "leaves100",
    "leaves100/leaves100.npz",
    {
        "margin": "06fed9a2a12c88bbe66682c2842d7b879c2f6218d904733a38efb491a21cc66f",
        "shape": "6aaf2cb8597d07a0b0738b9299046bb972fb98f373c20a9a9f17422760c9920a",
        "texture": "5c67b103841f059f2096303889accbf58b6c2886e038dac45578846197d8a0c7",
        "label": "f5beb395cc1a2c03fadf21ee3b6cc176b969185ae6112d2810bf4f7c154bb1e7",
    },
)


def load(root: Path | None = None) -> Dataset:
    """Views "margin", "shape" and "texture", each (1600, 64) float32; 100 classes; no groups known.

    Raises TcmaxError as `PublishedArrays.read` does.
    """
    arrays = FILE.read(root)
    labels = arrays["label"].astype(np.int64)
    items = np.array([f"leaf-{row:04d}" for row in range(len(labels))])
    fold = stratified_split("leaves100", labels, items, TRAIN, VALIDATION)
    dataset = Dataset(
        id="leaves100",
        inputs={view: standardised(arrays[view], fold.train) for view in ("margin", "shape", "texture")},
        labels=labels,
        class_names=tuple(f"species-{label:02d}" for label in range(100)),
        items=items,
        folds=(fold,),
        card=CARD,
    )
    return with_facts(dataset)
