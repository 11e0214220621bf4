"""What the released split lists share between their parts (assertion 31), and where the released cut falls on them."""

import csv
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from projects import ROOT

from tcmax.data.base import Card, Dataset, Fold, file_order_cut, overlap_facts

SHARED = Path(os.environ.get("TCMAX_SHARED", ROOT.parent / "shared"))
LISTS = SHARED / "data" / "splits"

pytestmark = pytest.mark.skipif(not LISTS.is_dir(), reason=f"real data are not here: no {LISTS}")


def rows(name: str) -> list[list[str]]:
    with (LISTS / name).open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.reader(stream))


def listed(train: list[list[str]], test: list[list[str]], **groups: list[str]) -> Dataset:
    """Train and test lists as a dataset whose validation part is the released cut; inputs are row numbers."""
    together = [*train, *test]
    classes = tuple(sorted({row[1] for row in together}))
    n = len(together)
    whole = Fold(np.arange(len(train) - 1), np.array([len(train) - 1]), np.arange(len(train), n))
    return Dataset(
        id="lists",
        inputs={"row": np.arange(n, dtype=np.float32)[:, None]},
        labels=np.array([classes.index(row[1]) for row in together], dtype=np.int64),
        class_names=classes,
        items=np.array([f"{k}-{row[0]}" for k, row in enumerate(together)]),
        folds=(file_order_cut(whole),),
        card=Card("lists", "as published", "released lists", "none"),
        groups={name: np.array(ids) for name, ids in groups.items()},
    )


def test_assertion_31_crema_d_is_speaker_dependent() -> None:
    train, test = rows("CREMAD/train.csv"), rows("CREMAD/test.csv")
    names = [row[0].split("_") for row in (*train, *test)]
    data = listed(train, test, speaker=[name[0] for name in names], sentence=[f"{name[0]} {name[1]}" for name in names])
    (fold,) = data.folds
    assert (len(fold.train), len(fold.val), len(fold.test)) == (5358, 1340, 744)
    facts = overlap_facts(data)
    assert "91 of 91 speaker ids in val also occur in train" in facts
    assert "91 of 91 speaker ids in test also occur in train" in facts
    pairs = {part: set(data.groups["sentence"][fold.part(part)]) for part in ("train", "val", "test")}
    assert len(pairs["test"]) == 545
    assert pairs["test"] <= pairs["train"] | pairs["val"]


def test_assertion_31_ave_repeats_videos_under_other_labels() -> None:
    labels: dict[str, dict[str, set[str]]] = {}
    for part in ("train", "val", "test"):
        by_id: dict[str, set[str]] = defaultdict(set)
        for identity, label in rows(f"AVE/{part}.csv")[1:]:
            by_id[identity].add(label)
        labels[part] = by_id
    assert [len(rows(f"AVE/{part}.csv")) - 1 for part in ("train", "val", "test")] == [3339, 402, 402]
    for part, shared in (("test", 8), ("val", 10)):
        both = set(labels[part]) & set(labels["train"])
        assert len(both) == shared
        assert all(not labels[part][identity] & labels["train"][identity] for identity in both)
    assert sum(len(found) == 2 for found in labels["train"].values()) == 27


def test_assertion_31_the_released_cut_of_ucf101_splits_videos() -> None:
    train, test = rows("UCF101/train.csv")[1:], rows("UCF101/test.csv")[1:]
    groups = ["_".join(row[0].split("_")[1:3]) for row in (*train, *test)]
    data = listed(train, test, video=groups)
    (fold,) = data.folds
    assert (len(fold.train), len(fold.val), len(fold.test)) == (7629, 1908, 3783)
    facts = overlap_facts(data)
    assert "1217 of 1219 video ids in val also occur in train" in facts
    assert any(fact.startswith("0 of ") and "video ids in test" in fact for fact in facts)


def test_the_released_cut_of_kinetics_sounds() -> None:
    train = rows("KineticsSound/train.csv")[1:]
    cut = file_order_cut(Fold(np.arange(len(train)), np.array([], dtype=np.int64), np.array([], dtype=np.int64)))
    assert (len(cut.train), len(cut.val)) == (11740, 2935)
