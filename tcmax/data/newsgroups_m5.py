"""Newsgroups (News-M5, "NGs"): 500 documents of five newsgroups, each in three bags of 2,000 words.

Layout below the data root: newsgroups_m5/newsgroups_m5.npz.

Split: of each class 20 documents train, 10 validate and 70 test, in the order of the SHA-256 of
"newsgroups-m5/<document>": with 100 labels one view is clearly weak and none saturates. A count n becomes log(1 + n).
"""

from pathlib import Path

import numpy as np

from tcmax.data.base import Card, Dataset
from tcmax.data.feature_sets import STEPS, PublishedArrays, stratified_split, with_facts

CARD = Card(
    title="Newsgroups in three bags of words (News-M5)",
    licence="not stated by the authors: word counts only, no text; cite, and ask before passing them on",
    source="NGs.mat of github.com/zhou572/Multi-view-Datasets at da48f8bf",
    citation=(
        "G. Bisson, C. Grimal, Co-clustering of Multi-view Datasets: a Parallelizable Approach, ICDM 2012; "
        "used by X. Sun et al., TCGM, ECCV 2020"
    ),
    notes=(
        "No split comes with the set: of each class 20 documents train, 10 validate and 70 test, by a hash.",
        "One view (usually said to be the second) chose its words with the labels of all 500 documents, so it carries "
        "labels of test items into any split: its accuracy alone is too good.",
        "The views have no names in the collected file; PAM, SMI, UMI is the usual order, not confirmed.",
        "Authors and threads of the documents are not known: related documents can stand in train and test.",
    ),
)
TRAIN, VALIDATION = 20, 10  # of the 100 documents of a class
VIEWS = ("view1", "view2", "view3")

FILE = PublishedArrays(
    "newsgroups-m5",
    "newsgroups_m5/newsgroups_m5.npz",
    {
        "view1": "b28937da5917023d4fcf1203b5c616d36d7a197353996c558d58586160a281ba",
        "view2": "1b8c0fa5194b9a32f35a35d568814edc1340fa7f91b278dd4d162dd6c9d123bc",
        "view3": "621061f6ff097f3d917828323f64aa48c243c66e17bf02857b3a65b05bed2bb3",
        "label": "e82b7d00cacf50d75d39ebc312b1a4230ea1dbbcb61da99927e83de886f70368",
    },
)


def load(root: Path | None = None) -> Dataset:
    """Views "view1" to "view3", each (500, 2000) float32 of log counts, not negative; five classes without names.

    Raises TcmaxError as `PublishedArrays.read` does.
    """
    arrays = FILE.read(root)
    labels = arrays["label"].astype(np.int64)
    items = np.array([f"document-{row:03d}" for row in range(len(labels))])
    logs = (np.rint(np.log1p(np.arange(256.0)) * STEPS) / STEPS).astype(np.float32)  # counts are single bytes
    dataset = Dataset(
        id="newsgroups-m5",
        inputs={view: logs[arrays[view]] for view in VIEWS},
        labels=labels,
        class_names=tuple(f"group-{label}" for label in range(5)),
        items=items,
        folds=(stratified_split("newsgroups-m5", labels, items, TRAIN, VALIDATION),),
        card=CARD,
    )
    twins = (
        f"{_shared_rows(array, dataset.folds[0].train, dataset.folds[0].test)} in {view}"
        for view, array in dataset.inputs.items()
    )
    return with_facts(dataset, f"test items whose row of one view equals a train item's: {', '.join(twins)}")


def _shared_rows(array: np.ndarray, train: np.ndarray, test: np.ndarray) -> int:
    seen = {array[row].tobytes() for row in train}
    return sum(array[row].tobytes() in seen for row in test)
