"""The score stage against a longhand computation from the stored logits, and what can be wrong with its input."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from factories import Columns, edit_predictions, score_runs, write_runs
from scipy import optimize, special, stats
from scipy.spatial.distance import jensenshannon
from sklearn import metrics as oracles

from tcmax.errors import TcmaxError
from tcmax.metrics import METRICS
from tcmax.metrics.item_scores import ItemScores
from tcmax.metrics.scoring import score
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json, sha256, write_json

OUTPUTS = ("items.parquet", "scores.parquet", "history.parquet")


WHOLE_ITEM = {name for name, metric in METRICS.items() if metric.whole_item}


def rescore(manifests: list[Path], reference: str | None = None) -> Path:
    folder = manifests[0].parent.parent.parent
    score(manifests, reference, *(folder / name for name in OUTPUTS))
    return folder


def scores_of(folder: Path) -> pd.DataFrame:
    """SCORES, indexed by what identifies a row; fold -1 stands for all folds pooled."""
    frame = parquet.read(folder / "scores.parquet", kinds.SCORES).to_pandas()
    frame["fold"] = frame["fold"].fillna(-1).astype(int)
    names = ["metric", "readout", "fold", "variant", "seed", "selection"]
    return frame.astype(dict.fromkeys(("metric", "readout", "variant", "selection"), str)).set_index(names, drop=False)


def value(scores: pd.DataFrame, metric: str, readout: str = "joint", fold: int = -1, **cell: Any) -> float:
    """The one value of a cell of SCORES; of all folds pooled unless a fold is named."""
    variant, seed, selection = ({"variant": "a", "seed": 0, "selection": "last"} | cell).values()
    return float(scores["value"].at[metric, readout, fold, variant, seed, selection])


# ---- the numbers


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds, three modalities, a variant whose own read-out is the energy-weighted one, one diverged run."""
    return score_runs(
        tmp_path_factory.mktemp("scored"),
        variants=("a", "b", "c"),
        seeds=(5, 0, 2),
        n_folds=2,
        n_classes=4,
        modalities=("audio", "visual", "text"),
        skill={("a", "audio"): 0.5, ("a", "text"): 1.5, "b": 1.0, ("c", "visual"): 0.2},
        readouts={"b": "joint_energy_weighted"},
        diverged={("c", 2)},
        reference_variant="a",
    )


@pytest.fixture(scope="module")
def longhand(scored: Path) -> dict[str, Any]:
    """Logits of variant b, seed 2, rule last, from its files: test items of both folds sorted, and temperatures."""
    table = pd.concat(
        pd.read_parquet(scored / f"fold_{fold}" / "b" / "seed_2" / "predictions_last.parquet") for fold in (0, 1)
    )
    logits = {
        name: np.stack(table[f"logits_{name}"].to_numpy()).astype(float)
        for name in ("audio", "visual", "text", "joint")
    }
    each = np.stack([logits[name] for name in ("audio", "visual", "text")])
    entropies = stats.entropy(special.softmax(each, axis=-1), axis=-1)
    logits["joint_entropy_gated"] = (special.softmax(-entropies, axis=0)[..., None] * each).sum(axis=0)
    logits["joint_energy_weighted"] = (special.logsumexp(each, axis=-1)[..., None] / 10 * each).sum(axis=0)
    labels, folds, split = (table[name].to_numpy() for name in ("label", "fold", "split"))
    calibrated, temperatures = {}, {}
    for name, values in logits.items():
        calibrated[name] = values.copy()
        for fold in (0, 1):
            val = (folds == fold) & (split == "val")

            def loss(log_t: float, u: np.ndarray = values[val], y: np.ndarray = labels[val]) -> float:
                return float(-special.log_softmax(u / np.exp(log_t), axis=-1)[np.arange(len(y)), y].mean())

            best = optimize.minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
            temperatures[name, fold] = float(np.exp(best.x))
            calibrated[name][folds == fold] /= temperatures[name, fold]
    order = np.flatnonzero(split == "test")
    order = order[np.argsort(table["item"].to_numpy()[order])]
    return {
        "logits": {name: values[order] for name, values in logits.items()},
        "calibrated": {name: values[order] for name, values in calibrated.items()},
        "temperatures": temperatures,
        "labels": labels[order],
        "items": table["item"].to_numpy()[order].tolist(),
    }


def of(longhand: dict[str, Any], readout: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    name = "joint_energy_weighted" if readout == "own" else readout
    return longhand["logits"][name], longhand["calibrated"][name], longhand["labels"]


READOUTS = ("audio", "visual", "text", "joint", "joint_entropy_gated", "joint_energy_weighted", "own")


@pytest.mark.parametrize("readout", READOUTS)
def test_item_scores_are_those_computed_longhand(scored: Path, longhand: dict[str, Any], readout: str) -> None:
    items = ItemScores.read(scored / "items.parquet")
    logits, calibrated, labels = of(longhand, readout)
    p, q = special.softmax(logits, axis=-1), special.softmax(calibrated, axis=-1)
    index = np.arange(len(labels))
    assert items.items.tolist() == longhand["items"]
    expected = {
        "correct": p.argmax(axis=-1) == labels,
        "nll": -np.log(p[index, labels]),
        "brier": ((p - np.eye(4)[labels]) ** 2).sum(axis=-1),
        "confidence": p.max(axis=-1),
        "entropy": stats.entropy(p, axis=-1),
    }
    for metric, column in expected.items():
        np.testing.assert_allclose(items.matrix("b", metric, readout, seeds=[2])[0], column, rtol=1e-9, err_msg=metric)
    fitted = {"nll_calibrated": -np.log(q[index, labels]), "entropy_calibrated": stats.entropy(q, axis=-1)}
    for metric, column in fitted.items():  # as precise as a minimiser of a smooth function is
        np.testing.assert_allclose(items.matrix("b", metric, readout, seeds=[2])[0], column, rtol=1e-4, err_msg=metric)


def test_divergences_of_items_are_those_computed_longhand(scored: Path, longhand: dict[str, Any]) -> None:
    items = ItemScores.read(scored / "items.parquet")
    for metric, kind in (("js", "logits"), ("js_calibrated", "calibrated")):
        p = np.stack([special.softmax(longhand[kind][name], axis=-1) for name in ("audio", "visual", "text")])
        expected = stats.entropy(p.mean(axis=0), axis=-1) - stats.entropy(p, axis=-1).mean(axis=0)
        np.testing.assert_allclose(items.matrix("b", metric, "all", seeds=[2])[0], expected, rtol=1e-4, atol=1e-9)
    p = [special.softmax(longhand["logits"][name], axis=-1) for name in ("audio", "visual", "text")]
    pairs = [jensenshannon(p[m], p[n], axis=-1) ** 2 for m, n in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(items.matrix("b", "js_pairwise", "all", seeds=[2])[0], np.mean(pairs, axis=0), rtol=1e-8)


@pytest.mark.parametrize("readout", READOUTS)
def test_scores_are_those_computed_longhand(scored: Path, longhand: dict[str, Any], readout: str) -> None:
    scores = scores_of(scored)
    logits, _, labels = of(longhand, readout)
    p = special.softmax(logits, axis=-1)
    guess, top = p.argmax(axis=-1), p.max(axis=-1)
    bins = np.digitize(top, np.linspace(0, 1, 16), right=True)
    gaps = [abs(np.sum((guess == labels)[bins == b] - top[bins == b])) for b in np.unique(bins)]
    name = "joint_energy_weighted" if readout == "own" else readout
    expected = {
        "accuracy": oracles.accuracy_score(labels, guess),
        "balanced_accuracy": oracles.balanced_accuracy_score(labels, guess),
        "macro_f1": oracles.f1_score(labels, guess, average="macro"),
        "nll": oracles.log_loss(labels, p, labels=range(4)),
        "entropy": stats.entropy(p, axis=-1).mean(),
        "confidence": top.mean(),
        "ece": sum(gaps) / len(labels),
        "logit_scale": np.linalg.norm(logits, axis=-1).mean(),
    }
    for metric, number in expected.items():
        assert value(scores, metric, readout, variant="b", seed=2) == pytest.approx(number, rel=1e-9), metric
    each = [longhand["temperatures"][name, fold] for fold in (0, 1)]
    for fold in (0, 1):
        assert value(scores, "temperature", readout, fold, variant="b", seed=2) == pytest.approx(each[fold], rel=1e-4)
    pooled = value(scores, "temperature", readout, variant="b", seed=2)
    assert pooled == pytest.approx(np.sqrt(each[0] * each[1]), rel=1e-4)


def test_every_mean_in_scores_is_the_mean_of_its_item_column(scored: Path) -> None:
    items, scores = ItemScores.read(scored / "items.parquet"), scores_of(scored)
    checked = 0
    for metric, described in METRICS.items():
        for readout in ("all",) if METRICS[metric].whole_item else READOUTS:
            if described.item_column is not None:
                for selection in items.selections:
                    means = items.matrix("b", described.item_column, readout, selection).mean(axis=1)
                    for seed, mean in zip(items.seeds("b"), means, strict=True):
                        found = value(scores, metric, readout, variant="b", seed=seed, selection=selection)
                        assert found == pytest.approx(mean, rel=1e-12)
                        checked += 1
    assert checked == 3 * 3 * (7 * 7 + 3)


def test_folds_are_scored_apart_and_pooled(scored: Path) -> None:
    scores = scores_of(scored)
    each = [value(scores, "nll", "audio", fold) for fold in (0, 1)]
    assert value(scores, "nll", "audio") == pytest.approx(np.mean(each))  # folds of equal size
    rows = scores[scores["metric"] == "nll"]
    assert set(zip(rows["fold"], rows["n_items"], strict=True)) == {(-1, 80), (0, 40), (1, 40)}


def test_one_fold_has_pooled_rows_only(tmp_path: Path) -> None:
    assert set(scores_of(score_runs(tmp_path, selections=("last",)))["fold"]) == {-1}


def test_bits_are_nats_over_log_two(scored: Path) -> None:
    scores = scores_of(scored)
    assert value(scores, "js_bits", "all") == pytest.approx(value(scores, "js", "all") / np.log(2), rel=1e-14)


def test_the_entropy_ratio_takes_weak_and_strong_from_the_reference_and_from_the_variant(scored: Path) -> None:
    scores = scores_of(scored)

    def ranked(variant: str) -> list[str]:
        def mean(readout: str) -> float:
            seeds = (0, 5) if variant == "c" else (0, 2, 5)
            return float(np.mean([value(scores, "accuracy", readout, variant=variant, seed=s) for s in seeds]))

        return sorted(("audio", "visual", "text"), key=mean)

    weak, _, strong = ranked("a")
    assert weak == "audio"
    own_weak, _, own_strong = ranked("c")
    assert own_weak == "visual"
    cell = {"variant": "c", "seed": 5}
    for metric, of_metric, above, below in (
        ("entropy_ratio", "entropy", weak, strong),
        ("entropy_ratio_own", "entropy", own_weak, own_strong),
        ("entropy_ratio_calibrated", "entropy_calibrated", weak, strong),
    ):
        expected = value(scores, of_metric, above, **cell) / value(scores, of_metric, below, **cell)
        assert value(scores, metric, "all", **cell) == pytest.approx(expected, rel=1e-12)
    said = parquet.header(scored / "scores.parquet")["weak_and_strong"]["last"]
    assert (said["a"], said["c"]) == ([weak, strong], [own_weak, own_strong])


def test_weak_and_strong_are_told_by_finished_seeds_only(tmp_path: Path) -> None:
    manifests = write_runs(
        tmp_path,
        variants=("a",),
        n_folds=2,
        skill={("a", "left"): 5.0, ("a", "right"): 2.0},
        diverged={("a", 1, 0), ("a", 2, 0)},
        selections=("last",),
    )

    def useless(columns: Columns, header: dict[str, Any]) -> None:
        columns["logits_left"] = -columns["logits_left"]

    for seed in (1, 2):  # finished in fold 1 only
        edit_predictions(manifests[1], seed, "last", useless)
    folder = rescore(manifests)
    assert parquet.header(folder / "scores.parquet")["weak_and_strong"]["last"]["a"] == ["right", "left"]


def test_without_a_reference_variant_only_the_own_ratio_is_there(tmp_path: Path) -> None:
    found = set(scores_of(score_runs(tmp_path, selections=("last",)))["metric"])
    assert "entropy_ratio_own" in found
    assert not {"entropy_ratio", "entropy_ratio_calibrated"} & found


def test_a_ratio_without_entropy_below_is_missing(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path, variants=("a",), seeds=(0,), selections=("last",))

    def certain(columns: Columns, header: dict[str, Any]) -> None:
        for name in ("left", "right"):
            columns[f"logits_{name}"] = (3e4 * np.eye(3, dtype=np.float32))[columns["label"]]

    edit_predictions(manifests[0], 0, "last", certain)
    assert np.isnan(value(scores_of(rescore(manifests)), "entropy_ratio_own", "all"))


def test_negative_energy_weights_are_counted(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path, variants=("a",), seeds=(0,), selections=("last",), n_test=40)

    def lowered(columns: Columns, header: dict[str, Any]) -> None:
        tests = [i for i, split in enumerate(columns["split"]) if split == "test"]
        columns["logits_right"][tests[:10]] -= 50

    edit_predictions(manifests[0], 0, "last", lowered)
    assert value(scores_of(rescore(manifests)), "negative_weights", "joint_energy_weighted") == 0.25


def test_variants_have_the_same_rows_whatever_their_own_read_outs_are(tmp_path: Path) -> None:
    own = {"a": "joint", "b": "joint_energy_weighted", "c": "joint_entropy_gated"}
    frame = scores_of(score_runs(tmp_path, variants=tuple(own), seeds=(0,), readouts=own))
    by_variant = frame.reset_index(drop=True).groupby("variant")
    rows = {variant: set(zip(part["readout"], part["metric"], strict=True)) for variant, part in by_variant}
    assert rows["a"] == rows["b"] == rows["c"]
    assert ("joint_energy_weighted", "negative_weights") in rows["b"]


def test_temperatures_see_validation_labels_only(tmp_path: Path) -> None:
    runs = {"variants": ("a",), "seeds": (0,), "selections": ("last",)}
    plain = scores_of(score_runs(tmp_path / "plain", **runs))
    for split, changes in (("test", False), ("val", True)):
        manifests = write_runs(tmp_path / split, **runs)

        def mislabelled(columns: Columns, header: dict[str, Any], split: str = split) -> None:
            labels = zip(columns["label"], columns["split"], strict=True)
            columns["label"] = [(label + 1) % 3 if where == split else label for label, where in labels]

        edit_predictions(manifests[0], 0, "last", mislabelled)
        other = scores_of(rescore(manifests))
        assert (value(other, "temperature") != value(plain, "temperature")) is changes
        assert (value(other, "accuracy") != value(plain, "accuracy")) is not changes


def test_the_catalogue_lists_what_scores_hold(scored: Path) -> None:
    found = scores_of(scored)
    assert set(found["metric"]) == set(METRICS)
    assert set(found.loc[found["readout"] == "all", "metric"]) == WHOLE_ITEM
    columns = pq.read_schema(scored / "items.parquet").names
    stored = {name.removeprefix("score_").partition(".")[0] for name in columns if name.startswith("score_")}
    assert stored == {metric.item_column for metric in METRICS.values()} - {None}


# ---- designs


def test_one_modality_has_no_divergence_and_no_ratio(tmp_path: Path) -> None:
    folder = score_runs(tmp_path, modalities=("only",), reference_variant="a", selections=("last",))
    assert not set(scores_of(folder)["metric"]) & WHOLE_ITEM
    items = ItemScores.read(folder / "items.parquet")
    assert "all" not in items.readouts
    with pytest.raises(TcmaxError, match="no score 'js' of the read-out 'all'; its read-outs are only, joint"):
        items.matrix("a", "js", "all")
    np.testing.assert_allclose(items.matrix("a", "nll", "joint_entropy_gated"), items.matrix("a", "nll", "only"))


def test_two_modalities_have_no_pairs_beside_their_divergence(tmp_path: Path) -> None:
    assert "js_pairwise" not in set(scores_of(score_runs(tmp_path, selections=("last",)))["metric"])


def test_one_seed_of_one_variant_is_enough(tmp_path: Path) -> None:
    folder = score_runs(tmp_path, variants=("a",), seeds=(7,), reference_variant="a")
    assert ItemScores.read(folder / "items.parquet").matrix("a", "correct").shape == (1, 40)


def test_without_validation_items_nothing_is_calibrated(tmp_path: Path) -> None:
    found = set(scores_of(score_runs(tmp_path, n_val=0, reference_variant="a", selections=("last",)))["metric"])
    assert not {name for name in found if "calibrated" in name or "temperature" in name} - {"ece_if_calibrated"}
    assert {"nll", "ece", "js", "entropy_ratio"} <= found


def test_predictions_without_unimodal_logits_are_scored_as_far_as_they_go(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path, variants=("a",), seeds=(0,), selections=("last",))

    def dropped(columns: Columns, header: dict[str, Any]) -> None:
        del columns["logits_left"], columns["logits_right"]

    edit_predictions(manifests[0], 0, "last", dropped)
    found = scores_of(rescore(manifests))
    assert set(found["readout"]) == {"joint", "own"}
    assert {"accuracy", "ece", "nll_calibrated"} <= set(found["metric"])


def test_diverged_runs_are_named_and_not_scored(scored: Path) -> None:
    items, scores = ItemScores.read(scored / "items.parquet"), scores_of(scored)
    assert items.diverged("c") == (2,)
    assert items.seeds("c") == (0, 5)
    assert value(scores, "diverged", variant="c", seed=2) == 1
    assert value(scores, "diverged", variant="c", seed=0) == 0
    of_run = scores[(scores["variant"] == "c") & (scores["seed"] == 2)]
    assert set(of_run["metric"]) == {"diverged"}
    assert set(of_run["n_items"]) == {0}


def test_a_diverged_fold_takes_its_seed_out_and_leaves_the_other_fold_in_scores(tmp_path: Path) -> None:
    folder = score_runs(tmp_path, n_folds=2, diverged={("b", 1, 0)}, selections=("last",))
    items, scores = ItemScores.read(folder / "items.parquet"), scores_of(folder)
    assert (items.seeds("b"), items.diverged("b")) == ((0, 2), (1,))
    cell = {"variant": "b", "seed": 1}
    assert [value(scores, "diverged", fold=fold, **cell) for fold in (-1, 0, 1)] == [1, 1, 0]
    assert 0 < value(scores, "accuracy", fold=1, **cell) <= 1


def test_a_variant_of_which_every_run_diverged_keeps_its_place(tmp_path: Path) -> None:
    folder = score_runs(
        tmp_path, diverged={("a", seed) for seed in range(3)}, reference_variant="a", selections=("last",)
    )
    items = ItemScores.read(folder / "items.parquet")
    assert items.variants == ("a", "b")
    assert (items.seeds("a"), items.diverged("a")) == ((), (0, 1, 2))
    assert items.matrix("a", "correct").shape == (0, 40)
    assert "entropy_ratio" not in set(scores_of(folder)["metric"])


def test_nothing_is_scored_when_every_run_diverged(tmp_path: Path) -> None:
    with pytest.raises(TcmaxError, match="every run on toy diverged"):
        score_runs(tmp_path, variants=("a",), seeds=(0, 1), diverged={("a", 0), ("a", 1)})


def test_history_holds_every_run_diverged_ones_included(tmp_path: Path) -> None:
    folder = score_runs(tmp_path, n_folds=2, seeds=(4, 1), diverged={("b", 4)}, epochs=3, selections=("last",))
    history = parquet.read(folder / "history.parquet", kinds.HISTORY).to_pandas()
    runs = history[["variant", "seed", "fold"]].drop_duplicates()
    expected = [(variant, seed, fold) for variant in "ab" for seed in (1, 4) for fold in (0, 1)]
    assert list(runs.itertuples(index=False, name=None)) == expected
    parts = sorted(folder.glob("fold_*/*/seed_*/history.parquet"))
    assert len(history) == sum(pq.read_metadata(part).num_rows for part in parts)


# ---- bytes


def hashes(folder: Path) -> list[str]:
    return [sha256(folder / name) for name in OUTPUTS]


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    runs: dict[str, Any] = {"n_folds": 2, "seeds": (0, 1), "diverged": {("b", 1)}, "reference_variant": "a"}
    first, second = (hashes(score_runs(tmp_path / name, **runs)) for name in ("one", "two"))
    assert first == second


def test_blocks_seed_order_and_row_order_change_no_byte(tmp_path: Path) -> None:
    first = hashes(score_runs(tmp_path / "one", seeds=(0, 1, 2)))
    manifests = write_runs(tmp_path / "two", seeds=(2, 0, 1), seeds_per_job=1)

    def reversed_rows(columns: Columns, header: dict[str, Any]) -> None:
        for name, column in columns.items():
            columns[name] = np.ascontiguousarray(column[::-1]) if name.startswith("logits") else column[::-1]

    edit_predictions(manifests[0], 2, "last", reversed_rows)
    assert hashes(rescore(manifests)) == first


def test_items_are_written_one_variant_and_rule_at_a_time_and_read_as_one_valid_record(scored: Path) -> None:
    path = scored / "items.parquet"
    assert pq.ParquetFile(path).num_row_groups == 3 * 3
    columns = pq.read_schema(path).names
    table = parquet.read(path, kinds.ITEM_SCORES, columns)
    assert table.num_rows == 3 * 80 * (3 + 3 + 2)
    assert not table.to_pandas().duplicated(list(kinds.ITEM_SCORES.unique)).any()
    assert set(kinds.ITEM_SCORES.columns) <= set(columns)


def test_blocks_of_items_give_what_one_block_gives(tmp_path: Path) -> None:
    # 700 classes: 93 items to a block
    runs: dict[str, Any] = {"variants": ("a",), "seeds": (0,), "n_classes": 700, "n_test": 200, "selections": ("last",)}
    folder = score_runs(tmp_path, **runs)
    items = ItemScores.read(folder / "items.parquet")
    table = pd.read_parquet(folder / "fold_0/a/seed_0/predictions_last.parquet")
    table = table[table["split"] == "test"].sort_values("item")
    p = special.softmax(np.stack(table["logits_joint"].to_numpy()).astype(float), axis=-1)
    np.testing.assert_allclose(items.matrix("a", "nll")[0], -np.log(p[np.arange(200), table["label"]]), rtol=1e-9)


# ---- what is wrong with the input


def sealed_again(manifest: Path, change: Callable[[Any], None]) -> None:
    content = read_json(manifest)
    change(content)
    write_json(manifest, content)


def test_a_missing_predictions_file_is_named_with_the_command_that_builds_it(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path, n_folds=2, seeds_per_job=2, selections=("last", "best_val"))
    (manifests[3].parent / "seed_2" / "predictions_best_val.parquet").unlink()
    with pytest.raises(TcmaxError) as caught:
        rescore(manifests)
    assert str(caught.value).startswith(str(manifests[3].parent / "seed_2/predictions_best_val.parquet"))
    assert "(toy, fold 0, b, seed 2) does not exist" in str(caught.value)
    assert "`tcmax train made-up --dataset toy --variant b --fold 0 --block 1`" in str(caught.value)


@pytest.mark.parametrize("name", ["predictions_last.parquet", "history.parquet"])
def test_an_altered_file_is_refused_and_earlier_results_stay(tmp_path: Path, name: str) -> None:
    manifests = write_runs(tmp_path, seeds=(0, 1), selections=("last",))
    folder = rescore(manifests)
    before = hashes(folder)
    path = manifests[1].parent / "seed_1" / name
    other = manifests[0].parent / "seed_1" / name
    path.write_bytes(other.read_bytes())
    with pytest.raises(TcmaxError, match=rf"seed_1/{name} \(toy, fold 0, b, seed 1\) is not the file.*tcmax train"):
        rescore(manifests)
    assert hashes(folder) == before
    assert not list(folder.glob(".*.tmp"))


def test_no_predictions_no_item_scores(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path)
    for path in tmp_path.rglob("predictions_*.parquet"):
        path.unlink()
    with pytest.raises(TcmaxError, match="does not exist"):
        rescore(manifests)
    assert not list(manifests[0].parent.parent.parent.glob("*.parquet"))


def change_column(name: str, replacement: Any) -> Callable[[Columns, dict[str, Any]], None]:
    def change(columns: Columns, header: dict[str, Any]) -> None:
        columns[name] = [replacement] * len(columns["item"])

    return change


def change_header(name: str, replacement: Any) -> Callable[[Columns, dict[str, Any]], None]:
    def change(columns: Columns, header: dict[str, Any]) -> None:
        header[name] = replacement

    return change


def fewer_items(columns: Columns, header: dict[str, Any]) -> None:
    for name, column in columns.items():
        columns[name] = column[:-1]


def other_label(columns: Columns, header: dict[str, Any]) -> None:
    columns["label"][-1] = (columns["label"][-1] + 1) % 3


def other_group(columns: Columns, header: dict[str, Any]) -> None:
    columns["group_speaker"][-1] = "somebody else"


def no_validation(columns: Columns, header: dict[str, Any]) -> None:
    kept = [i for i, split in enumerate(columns["split"]) if split == "test"]
    for name, column in columns.items():
        columns[name] = column[kept] if name.startswith("logits_") else [column[i] for i in kept]


def validation_item_in_test(columns: Columns, header: dict[str, Any]) -> None:
    columns["item"][0] = columns["item"][-1]


def third_modality(columns: Columns, header: dict[str, Any]) -> None:
    columns["logits_third"] = columns["logits_left"]


def modality_called_own(columns: Columns, header: dict[str, Any]) -> None:
    columns["logits_own"] = columns.pop("logits_left")


def no_joint(columns: Columns, header: dict[str, Any]) -> None:
    del columns["logits_joint"]


def fourth_class(columns: Columns, header: dict[str, Any]) -> None:
    header["classes"].append("class 3")
    for name in ("left", "right", "joint"):
        values = columns[f"logits_{name}"]
        columns[f"logits_{name}"] = np.c_[values, np.zeros(len(values), np.float32)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (change_column("run_key", "another"), r"its run_key is \['another'\], its manifest says 'key-b-1-0'"),
        (change_column("seed", 9), r"its seed is \[9\], its manifest says 1"),
        (change_column("variant", "a"), r"its variant is \['a'\], its manifest says 'b'"),
        (change_column("fold", 3), r"its fold is \[3\], its manifest says 0"),
        (change_column("dataset", "other"), r"its dataset is \['other'\], its manifest says 'toy'"),
        (change_column("split", "train"), r"its splits are \['train'\], not val and test"),
        (change_column("split", "val"), r"its splits are \['val'\], not val and test"),
        (change_header("selection", "best_val"), "holds the selection rule 'best_val', not 'last'"),
        (change_header("readout", "joint_by_vote"), "its own read-out is 'joint_by_vote', which cannot be computed"),
        (
            change_header("readout", "joint_entropy_gated"),
            "its own read-out is joint_entropy_gated, that of other runs",
        ),
        (change_header("classes", ["x"]), "its header names 1 classes, its logits have 3"),
        (fewer_items, r"differ in their test items: \(toy, fold 0, a, seed 0\) against \(toy, fold 0, b, seed 1\)"),
        (other_label, "differ in their labels"),
        (other_group, r"differ in their groups \(speaker\)"),
        (no_validation, "differ in their presence of validation items"),
        (validation_item_in_test, "an item is both in val and in test"),
        (third_modality, "differ in their modalities"),
        (fourth_class, "differ in their classes"),
        (modality_called_own, "a modality may not be called 'own'"),
        (no_joint, "it has no joint logits"),
    ],
)
def test_predictions_that_contradict_manifest_or_other_runs_are_refused(
    tmp_path: Path, change: Callable[[Columns, dict[str, Any]], None], sentence: str
) -> None:
    manifests = write_runs(tmp_path, seeds=(0, 1), selections=("last",))
    edit_predictions(manifests[1], 1, "last", change)
    with pytest.raises(TcmaxError, match=sentence):
        rescore(manifests)


def test_logits_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path, seeds=(0, 1), selections=("last",))
    path = manifests[1].parent / "seed_1" / "predictions_last.parquet"
    table = pq.read_table(path)
    column = table["logits_left"].combine_chunks()
    values = column.flatten().to_numpy().copy()
    values[4] = np.nan
    damaged = type(column).from_arrays(values, 3)
    pq.write_table(table.set_column(table.column_names.index("logits_left"), "logits_left", damaged), path)
    sealed_again(
        manifests[1], lambda content: content["runs"][1]["files"]["predictions_last"].update(sha256=sha256(path))
    )
    with pytest.raises(TcmaxError, match=r"seed_1/predictions_last.parquet: 'logits_left' holds missing, NaN"):
        rescore(manifests)


def test_runs_that_were_computed_in_different_arithmetic_are_not_scored_together(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path, selections=("last",))
    for manifest in manifests:
        sealed_again(manifest, lambda content: [run.update(arithmetic="portable-1") for run in content["runs"]])
    rescore(manifests)
    sealed_again(manifests[1], lambda content: content["runs"][2].update(arithmetic="native 77"))
    with pytest.raises(TcmaxError, match=r"mixes runs of different arithmetic .*; native 77: .*, b, seed 2\)"):
        rescore(manifests)


def test_a_run_without_one_of_the_selection_rules_is_named(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path, selections=("last", "best_val"))
    sealed_again(manifests[1], lambda content: content["runs"][2]["files"].pop("predictions_best_val"))
    with pytest.raises(TcmaxError, match=r"fold_0/b/block_0.json lists no predictions_best_val for seed 2"):
        rescore(manifests)


def test_a_history_of_another_run_key_is_refused(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path)
    path = manifests[0].parent / "seed_1" / "history.parquet"
    path.write_bytes((manifests[1].parent / "seed_1" / "history.parquet").read_bytes())
    sealed_again(manifests[0], lambda content: content["runs"][1]["files"]["history"].update(sha256=sha256(path)))
    with pytest.raises(TcmaxError, match="belongs to another run key"):
        rescore(manifests)


def test_an_item_in_the_test_part_of_two_folds_is_refused(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path, n_folds=2, variants=("a",), seeds=(0,), selections=("last",))

    def shared(columns: Columns, header: dict[str, Any]) -> None:
        columns["item"][-1] = "item-0-0007"

    edit_predictions(manifests[1], 0, "last", shared)
    with pytest.raises(TcmaxError, match="'item-0-0007' of toy is in the test part of more than one fold"):
        rescore(manifests)


def test_holes_in_the_grid_are_named(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path, n_folds=2, selections=("last",))
    with pytest.raises(TcmaxError, match="seed 0 of b lacks fold 1 of toy"):
        rescore(manifests[:3])


def test_one_dataset_at_a_time_and_each_run_once(tmp_path: Path) -> None:
    one, two = (write_runs(tmp_path, dataset=name, selections=("last",)) for name in ("toy", "other"))
    with pytest.raises(TcmaxError, match="manifests are of other and toy"):
        rescore([*one, *two])
    with pytest.raises(TcmaxError, match=r"both list the run toy, fold 0, a, seed 0"):
        rescore([*one, one[0]])
    with pytest.raises(TcmaxError, match="no run to score"):
        score([], None, *(tmp_path / name for name in OUTPUTS))


def test_a_reference_variant_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TcmaxError, match="'unimodal' is to tell weak from strong modalities, but toy has only a, b"):
        score_runs(tmp_path, reference_variant="unimodal")


@pytest.mark.parametrize("content", ["[]", "{}", '{"schema_version": 1, "runs": 3}', '{"schema_version": 7}', "{"])
def test_what_is_no_block_manifest_is_refused(tmp_path: Path, content: str) -> None:
    manifests = write_runs(tmp_path)
    manifests[1].write_text(content)
    with pytest.raises(TcmaxError, match=r"fold_0/b/block_0.json"):
        rescore(manifests)


def test_a_block_that_was_not_trained_is_named(tmp_path: Path) -> None:
    manifests = write_runs(tmp_path, selections=("last",))
    manifests[1].unlink()
    with pytest.raises(TcmaxError, match=r"fold_0/b/block_0.json does not exist: this block has not been trained"):
        rescore(manifests)


def test_the_catalogue_costs_no_scientific_import() -> None:
    code = "import sys, json, tcmax.metrics; print(json.dumps(sorted(m for m in sys.modules if '.' not in m)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "scipy", "pandas", "pyarrow"} & set(json.loads(done.stdout))
