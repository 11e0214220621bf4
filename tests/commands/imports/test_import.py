"""Importing results: equal numbers by every road in, one sentence for every defect, and the documented example."""

import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from projects import ROOT

from tcmax import cli
from tcmax.commands.analyse import compare_experiment, imported, score_dataset, with_import
from tcmax.commands.imports.mapping import load_mapping
from tcmax.commands.imports.write import import_results
from tcmax.commands.why import why_text
from tcmax.errors import TcmaxError
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.experiment.grid import load
from tcmax.metrics.item_scores import ItemScores
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json

N, CLASSES = 12, 3
LABELS = np.arange(N) % CLASSES
ITEMS = np.array([f"clip-{i:02d}" for i in range(N)])
PART = np.where(np.arange(N) < 4, "dev", "test")


def logits(variant, seed):
    rng = np.random.default_rng([len(variant), seed])
    return (rng.normal(size=(N, CLASSES)) + np.eye(CLASSES)[LABELS]).astype(np.float32)


def arrays(variant, seed):
    return {"clip": ITEMS, "target": LABELS, "part": PART, "z": logits(variant, seed)}


MAPPING = {
    "name": "theirs",
    "source": "a test",
    "files": "{variant}-{seed}.npz",
    "dataset": "clips",
    "columns": {"item": "clip", "label": "target", "split": "part"},
    "logits": {"joint": "z"},
}


def write(folder, change=None, **mapping):
    """Runs of variants a and b with seeds 0 to 2 as NPZ; `change(variant, seed, arrays)` may edit or drop each."""
    for variant in ("a", "b"):
        for seed in (0, 1, 2):
            content = arrays(variant, seed)
            content = content if change is None else change(variant, seed, content)
            if content is not None:
                np.savez(folder / f"{variant}-{seed}.npz", **content)
    return describe(folder, **mapping)


def describe(folder, **changes):
    path = folder / "theirs.yaml"
    content = {key: value for key, value in {**MAPPING, **changes}.items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def do_import(folder, path):
    return import_results(path, folder / "results", folder / "config")


def only(variant, seed, edit):
    """A change that edits one run."""

    def change(v, s, content):
        return edit(content) if (v, s) == (variant, seed) else content

    return change


def correct_by_hand(variant):
    test = PART == "test"
    return np.stack([(logits(variant, s).argmax(axis=1) == LABELS)[test] for s in (0, 1, 2)]).astype(float)


@pytest.fixture
def scored(tmp_path):
    do_import(tmp_path, write(tmp_path))
    experiment = load(tmp_path / "config" / "theirs.yaml")
    score_dataset(experiment, "clips", tmp_path / "results")
    return experiment, tmp_path / "results"


def test_imported_logits_are_scored_like_trained_ones(scored):
    _, results = scored
    items = ItemScores.read(results / "theirs" / "clips" / "items.parquet")
    assert items.items.tolist() == ITEMS[PART == "test"].tolist()
    assert items.labels.tolist() == LABELS[PART == "test"].tolist()
    for variant in ("a", "b"):
        np.testing.assert_array_equal(items.matrix(variant, "correct"), correct_by_hand(variant))
    z = logits("a", 1)[PART == "test"].astype(float)
    nll = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), LABELS[PART == "test"]]
    np.testing.assert_allclose(items.matrix("a", "nll")[1], nll, rtol=1e-12)


def test_the_better_of_two_variants_can_be_chosen_on_validation(scored):
    board = Scoreboard(scored[0], "clips", scored[1])
    part = PART == "dev"
    by_hand = {s: float(np.mean(logits("b", s)[part].argmax(axis=1) == LABELS[part])) for s in (0, 1, 2)}
    assert board.validation("b") == pytest.approx(by_hand)
    assert len(board.score(("a", "b"), "accuracy", "own").seeds) == 3


def rows_of_everything():
    for variant in ("a", "b"):
        for seed in (0, 1, 2):
            z = logits(variant, seed)
            for i in range(N):
                yield variant, seed, i, z[i]


CSV = {"columns": {"variant": "model", "seed": "run", "item": "clip", "label": "target", "split": "part"}}


def as_csv(folder):
    lines = ["model,run,clip,target,part,p_2,p_0,p_1"]  # numbered, not ordered
    for variant, seed, i, z in rows_of_everything():
        lines.append(
            f"{variant},{seed},{ITEMS[i]},{LABELS[i]},{PART[i]}," + ",".join(repr(float(z[c])) for c in (2, 0, 1))
        )
    (folder / "all.csv").write_text("\n".join(lines) + "\n")
    return describe(folder, files="all.csv", logits={"joint": "p_"}, **CSV)


def as_parquet(folder):
    rows = list(rows_of_everything())[::-1]  # the order of rows does not matter
    table = {
        "model": [variant for variant, *_ in rows],
        "run": [seed for _, seed, *_ in rows],
        "clip": [ITEMS[i] for *_, i, _ in rows],
        "target": [["x", "y", "z"][LABELS[i]] for *_, i, _ in rows],
        "part": [PART[i] for *_, i, _ in rows],
        "z": pa.array([z.tolist() for *_, z in rows], pa.list_(pa.float32())),
    }
    pq.write_table(pa.table(table), folder / "all.parquet")
    return describe(folder, files=["all.parquet"], classes=["x", "y", "z"], **CSV)


def as_probabilities(folder):
    def change(variant, seed, content):
        z = content.pop("z").astype(np.float64)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return content | {"z": p / p.sum(axis=1, keepdims=True)}

    return write(folder, change, scale="probabilities")


@pytest.mark.parametrize("road", [as_csv, as_parquet, as_probabilities])
def test_every_road_in_gives_the_same_scores(tmp_path, scored, road):
    (tmp_path / "other").mkdir()
    do_import(tmp_path / "other", road(tmp_path / "other"))
    score_dataset(load(tmp_path / "other" / "config" / "theirs.yaml"), "clips", tmp_path / "other" / "results")
    one, two = (
        ItemScores.read(base / "results" / "theirs" / "clips" / "items.parquet")
        for base in (tmp_path, tmp_path / "other")
    )
    assert one.items.tolist() == two.items.tolist()
    for metric in ("correct", "nll", "nll_calibrated", "entropy"):
        np.testing.assert_allclose(two.matrix("b", metric), one.matrix("b", metric), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kept", [("prediction",), ("correct",), ("prediction", "correct")])
def test_correctness_per_item_gives_the_same_comparison(tmp_path, scored, kept):
    experiment, results = scored
    compare_experiment(experiment, results)

    def change(variant, seed, content):
        predicted = content.pop("z").argmax(axis=1)
        return content | {"prediction": predicted, "correct": predicted == content["target"]}

    folder = tmp_path / "items"
    folder.mkdir()
    columns = {**MAPPING["columns"], **{name: name for name in kept}}
    lines = do_import(folder, write(folder, change, logits=None, columns=columns))
    assert "  tcmax score" not in "\n".join(lines)
    compare_experiment(load(folder / "config" / "theirs.yaml"), folder / "results")
    wanted = "clips|accuracy|own|a-vs-b|both|pair"
    found = []
    for base in (results, folder / "results"):
        table = parquet.read(base / "theirs" / "evidence.parquet", kinds.EVIDENCE).to_pylist()
        found.append(next(row for row in table if row["id"] == wanted))
    for name in ("estimate", "low", "high", "n_seeds", "n_items"):
        assert found[0][name] == pytest.approx(found[1][name])
    scores = parquet.read(folder / "results" / "theirs" / "clips" / "scores.parquet", kinds.SCORES).to_pylist()
    assert {row["metric"] for row in scores} >= {"accuracy", "balanced_accuracy"}
    assert ("macro_f1" in {row["metric"] for row in scores}) == ("prediction" in kept)


def table_of_runs(folder, text="model,run,acc\na,0,80\na,1,82\na,2,81\nb,0,70\nb,1,72\nb,2,72\n", **changes):
    (folder / "runs.csv").write_text(text)
    given = {"unit": "percent", "n_items": 744, "values": {"accuracy": "acc"}, **changes}
    return describe(folder, files="runs.csv", columns={"variant": "model", "seed": "run"}, logits=None, **given)


def test_scores_of_runs_speak_for_new_seeds_only(tmp_path):
    lines = do_import(tmp_path, table_of_runs(tmp_path))
    assert "note: clips: scores of whole runs speak for new seeds only, never for new test items" in lines
    compare_experiment(load(tmp_path / "config" / "theirs.yaml"), tmp_path / "results")
    table = parquet.read(tmp_path / "results" / "theirs" / "evidence.parquet", kinds.EVIDENCE).to_pylist()
    rows = {
        row["population"]: row
        for row in table
        if row["id"].startswith("clips|accuracy|own|a-vs-b") and row["id"].endswith("pair")
    }
    # Paired t on differences 10, 10, 9: mean 9.667, standard error 1/3, t(2) = 4.3027.
    assert rows["seeds"]["estimate"] == pytest.approx(0.29 / 3)
    assert rows["seeds"]["low"] == pytest.approx(0.29 / 3 - 4.302653 / 300, rel=1e-6)
    assert rows["seeds"]["n_items"] == 744
    assert rows["items"]["low"] is None
    assert rows["both"]["low"] is None
    assert {row["metric"] for row in table} == {"accuracy"}


def drop(name):
    return lambda content: {key: value for key, value in content.items() if key != name}


def put(name, row, value):
    def edit(content):
        changed = content[name].astype(object) if isinstance(value, str) else content[name].copy()
        changed[row] = value
        return content | {name: changed.astype(str) if isinstance(value, str) else changed}

    return edit


def rows_kept(rows):
    return lambda content: {key: value[rows] for key, value in content.items()}


DEFECTS = {
    "a repeated item": (
        put("clip", 11, "clip-10"),
        "the item 'clip-10' has two rows in the run (clips, fold 0, b, seed 1)",
    ),
    "an item in both parts": (put("clip", 11, "clip-01"), "the item 'clip-01' is both in val and in test"),
    "other items": (
        rows_kept(np.arange(N) != 7),
        "differ in their test items: 8 and 7, and 'clip-07' is in one of them only",
    ),
    "other validation items": (rows_kept(np.arange(N) != 2), "differ in their val items: 4 and 3, and 'clip-02'"),
    "another label": (put("target", 5, 0), "disagree on the label of the item 'clip-05'"),
    "NaN": (put("z", (6, 1), np.nan), "b-1.npz, row 7: 'z' (logits.joint) is missing, NaN or infinite"),
    "infinity": (put("z", (6, 1), np.inf), "b-1.npz, row 7: 'z' (logits.joint) is missing, NaN or infinite"),
    "other classes": (lambda c: c | {"z": np.tile(c["z"], 2)[:, :4]}, "of 3 classes"),
    "other precision": (
        lambda c: c | {"z": c["z"].astype(np.float16)},
        "(clips, fold 0, b, seed 1) float16 and (clips, fold 0, b, seed 2) float32; say with `precision`",
    ),
    "probabilities": (
        lambda c: c | {"z": np.eye(3)[c["target"]]},
        "looks like probabilities; say `scale: probabilities`",
    ),
    "no column": (drop("part"), "b-1.npz has no column 'part' (columns.split); it has clip, target, z."),
    "no logits": (drop("z"), "has no array, and no columns that begin with, 'z' (logits.joint)"),
    "no class": (put("target", 5, 3), "holds '3', which is none of the 3 classes (0, 1, 2)"),
    "unequal length": (lambda c: c | {"part": c["part"][:-1]}, "b-1.npz: 'part' has 11 rows, 'clip' has 12"),
    "unknown split": (put("part", 5, "holdout"), "there is no split 'holdout'; splits: test, eval, val"),
    "no test rows": (lambda c: c | {"part": np.full(N, "dev")}, "the run (clips, fold 0, b, seed 1) has no test rows"),
    "a missing seed": (
        lambda c: None,
        "clips: b lacks seed 1, which other variants have; if it diverged, name it under `diverged`",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_one_sentence_and_nothing_is_written(tmp_path, defect):
    edit, sentence = DEFECTS[defect]
    path = write(tmp_path, only("b", 1, edit))
    with pytest.raises(TcmaxError, match=re.escape(sentence)) as error:
        do_import(tmp_path, path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "config").exists()


def test_groups_must_agree_between_variants(tmp_path):
    def change(variant, seed, content):
        return content | {"who": np.array(["x" if i != 9 or variant == "a" else "y" for i in range(N)])}

    with pytest.raises(TcmaxError, match=r"disagree on the actor of the item 'clip-09'"):
        do_import(tmp_path, write(tmp_path, change, groups={"actor": "who"}))


def test_what_was_refused_can_be_allowed_on_purpose(tmp_path):
    def change(variant, seed, content):
        if (variant, seed) == ("b", 1):
            return None
        return content | {"z": content["z"].astype(np.float16 if variant == "b" else np.float32)}

    lines = do_import(tmp_path, write(tmp_path, change, missing_seeds="allowed", precision="float32"))
    assert "note: clips: variants ran different seeds, so their seeds are taken as independent" in lines
    experiment = load(tmp_path / "config" / "theirs.yaml")
    score_dataset(experiment, "clips", tmp_path / "results")
    compare_experiment(experiment, tmp_path / "results")
    table = parquet.read(tmp_path / "results" / "theirs" / "evidence.parquet", kinds.EVIDENCE).to_pylist()
    assert {row["pairing"] for row in table if row["kind"] == "comparison"} == {"independent seeds"}


def test_one_seed_is_taken_and_said(tmp_path):
    lines = do_import(tmp_path, write(tmp_path, lambda v, s, c: c if s == 0 else None))
    assert "note: clips: 1 seed of some variant: claims about new seeds are not testable" in lines


def without(variant, seed):
    """A change that leaves one run out."""
    return only(variant, seed, lambda content: None)


@pytest.mark.parametrize("kind", ["logits", "correct", "runs"])
def test_a_diverged_run_is_named_and_read_both_ways(tmp_path, kind):
    diverged = {"diverged": {"b": [1]}}
    if kind == "runs":
        (tmp_path / "runs.csv").write_text("model,run,acc\n" + "".join(f"{v},{s},0.{s + 5}\n" for v, s in RUNS_BUT_B1))
        columns = {"variant": "model", "seed": "run"}
        given = {"files": "runs.csv", "columns": columns, "values": {"accuracy": "acc"}, "n_items": 8}
        path = describe(tmp_path, **given, logits=None, **diverged)
    elif kind == "correct":

        def change(variant, seed, content):
            return None if (variant, seed) == ("b", 1) else content | {"hit": (content["z"].argmax(1) == LABELS) * 1}

        columns = {"item": "clip", "label": "target", "split": "part", "correct": "hit"}
        path = write(tmp_path, change, logits=None, columns=columns, **diverged)
    else:
        path = write(tmp_path, without("b", 1), **diverged)
    assert "diverged: clips, fold 0, b, seed 1" in do_import(tmp_path, path)
    experiment, results = load(tmp_path / "config" / "theirs.yaml"), tmp_path / "results"
    assert experiment.settings.seeds == (0, 1, 2)
    if kind == "logits":
        score_dataset(experiment, "clips", results)
    compare_experiment(experiment, results)
    rows = parquet.read(results / "theirs" / "evidence.parquet", kinds.EVIDENCE).to_pylist()
    (row,) = [row for row in rows if row["id"] == "clips|accuracy|own|a-vs-b|items|pair"]
    assert (row["n_seeds"], row["n_diverged"], row["pairing"]) == (2, 1, "paired")
    assert Scoreboard(experiment, "clips", results).ran("b") == {0, 1, 2}
    cannot = "they cannot be counted at chance: a run that diverged has no accuracy"
    assert f"diverged runs removed; {cannot if kind == 'runs' else 'counted at chance: '}" in row["notes"]


RUNS_BUT_B1 = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 2)]


@pytest.mark.parametrize(
    ("diverged", "sentence"),
    [
        ({"b": [0, 1]}, "diverged: the run (clips, fold 0, b, seed 0) has rows in"),
        ({"c": [1]}, "diverged: no file has a variant 'c'; they have a, b."),
        ({}, "b lacks seed 1, which other variants have; if it diverged, name it under `diverged`;"),
        ({"b": [-1]}, "diverged.b.0: input should be greater than or equal to 0"),
    ],
)
def test_a_diverged_run_must_be_one(tmp_path, diverged, sentence):
    with pytest.raises(TcmaxError, match=re.escape(sentence)):
        do_import(tmp_path, write(tmp_path, without("b", 1), diverged=diverged))


def test_without_a_split_everything_is_test_and_nothing_is_calibrated(tmp_path):
    lines = do_import(tmp_path, write(tmp_path, columns={"item": "clip", "label": "target"}))
    assert any("no validation rows" in line for line in lines)
    assert read_json(tmp_path / "results" / "theirs" / "clips" / "data.json")["n_items"] == N


def test_training_rows_are_left_out_and_counted(tmp_path):
    def change(variant, seed, content):
        return content | {"part": np.where(PART == "dev", "train", "test")}

    assert "note: 24 training rows left out" in do_import(tmp_path, write(tmp_path, change))


def test_folds_are_pooled_and_test_each_item_once(tmp_path):
    def files(overlap):
        for variant in "ab":
            for seed in (0, 1, 2):
                for fold in (0, 1):
                    rows = np.arange(N) < 6 + overlap if fold == 0 else np.arange(N) >= 6
                    content = rows_kept(rows)(arrays(variant, seed))
                    np.savez(tmp_path / f"{variant}-{seed}-{fold}.npz", **content)

    files(0)
    path = describe(tmp_path, files="{variant}-{seed}-{fold}.npz", columns={"item": "clip", "label": "target"})
    do_import(tmp_path, path)
    experiment = load(tmp_path / "config" / "theirs.yaml")
    assert experiment.n_folds("clips") == 2
    score_dataset(experiment, "clips", tmp_path / "results")
    assert len(ItemScores.read(tmp_path / "results" / "theirs" / "clips" / "items.parquet").items) == N
    files(1)
    with pytest.raises(TcmaxError, match="the item 'clip-06' is in the test part of more than one fold"):
        do_import(tmp_path, path)


BAD_MAPPINGS = [
    ({"colour": "red"}, "colour: unknown key"),
    ({"source": None}, "source: this key is missing"),
    ({"logits": None}, "logits: give `logits`, `values`, or columns.correct or columns.prediction; there is none"),
    ({"values": {"accuracy": "x"}}, "there are logits and values"),
    ({"logits": {"audio": "z"}}, "logits: the read-out `joint` is needed"),
    ({"logits": {"joint": "z", "own": "z"}}, "logits: a modality cannot be called 'own'"),
    ({"files": "{model}.npz"}, "files: there is no placeholder {model}"),
    ({"files": "{variant}.npz"}, "columns.seed: which column is it?"),
    ({"dataset": None}, "dataset: name it here"),
    ({"columns": {"item": "clip"}}, "columns.label: which column is it?"),
    ({"name": "a/b"}, "becomes a folder"),
    ({"files": "nothing-{variant}-{seed}.npz"}, "files: nothing matches 'nothing-{variant}-{seed}.npz'"),
    ({"variants": {"c": {"label": "x"}}}, "variants: no file has a variant 'c'; they have a, b."),
    ({"variants": {"a": {"label": "b"}}}, "would both be called 'b'"),
    ({"reference_variant": "c"}, "reference_variant: there is no variant 'c'; variants: a, b."),
    ({"classes": ["x", "y"]}, "which is none of the 2 classes"),
    ({"columns": {**MAPPING["columns"], "seed": "part"}}, "says its seed in its name too"),
]


@pytest.mark.parametrize(("changes", "sentence"), BAD_MAPPINGS)
def test_a_mistake_in_the_mapping_is_named(tmp_path, changes, sentence):
    with pytest.raises(TcmaxError, match=re.escape(sentence)) as error:
        do_import(tmp_path, write(tmp_path, **changes))
    assert str(error.value).startswith(str(tmp_path / "theirs.yaml"))


SCORE_DEFECTS = [
    ({"text": "model,run,acc\na,0,80\na,0,81\n"}, "the run (clips, fold 0, a, seed 0) is given twice"),
    ({"unit": "proportion"}, "'acc' (values.accuracy) is no proportion; if it is in percent, say `unit: percent`"),
    ({"text": "model,run,acc\na,0,\n"}, "row 1: 'acc' (values.accuracy) is missing, NaN or infinite"),
    ({"text": "model,run,acc\na,zero,80\n"}, "'run' (columns.seed) holds 'zero', which is no whole number from 0"),
    ({"text": "model,run,acc\n,0,80\n"}, "row 1: 'model' (columns.variant) is missing"),
    ({"n_items": None}, "n_items: the number of test items behind each score"),
    ({"values": {"speed": "acc"}}, "values: there is no metric 'speed'"),
    ({"values": {"accuracy": "f1"}}, "has no column 'f1' (values.accuracy); it has model, run, acc."),
]


@pytest.mark.parametrize(("changes", "sentence"), SCORE_DEFECTS)
def test_a_mistake_in_a_table_of_runs_is_named(tmp_path, changes, sentence):
    with pytest.raises(TcmaxError, match=re.escape(sentence)):
        do_import(tmp_path, table_of_runs(tmp_path, **changes))


def test_correctness_may_not_contradict_prediction_and_label(tmp_path):
    def change(variant, seed, content):
        predicted = content.pop("z").argmax(axis=1)
        return content | {"prediction": predicted, "correct": predicted != content["target"]}

    columns = {**MAPPING["columns"], "prediction": "prediction", "correct": "correct"}
    with pytest.raises(TcmaxError, match=r"row 1: columns\.correct says"):
        do_import(tmp_path, write(tmp_path, change, logits=None, columns=columns))


def test_nothing_that_was_trained_here_is_overwritten(tmp_path):
    path = write(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "theirs.yaml").write_text("name: theirs\n")
    with pytest.raises(TcmaxError, match="is an experiment that was not imported; choose another `name`"):
        do_import(tmp_path, path)
    (tmp_path / "config" / "theirs.yaml").unlink()
    (tmp_path / "results" / "theirs" / "clips").mkdir(parents=True)
    with pytest.raises(TcmaxError, match="holds results that were not imported; choose another `name`"):
        do_import(tmp_path, path)


def test_importing_again_gives_equal_bytes_and_drops_what_was_derived(tmp_path, scored):
    experiment, results = scored
    compare_experiment(experiment, results)

    def contents():
        return {
            path: path.read_bytes() for path in results.rglob("*") if path.is_file() and "provenance" not in path.name
        }

    before = contents()
    do_import(tmp_path, tmp_path / "theirs.yaml")
    after = contents()
    assert not (results / "theirs" / "evidence.parquet").exists()
    assert after
    assert all(before[path] == content for path, content in after.items())


def test_the_workflow_knows_what_was_imported(tmp_path, scored):
    experiment, results = scored
    (tmp_path / "config" / "trained.yaml").write_text("name: trained\n")
    assert imported(tmp_path / "config", results) == {"theirs": "predictions"}
    assert with_import(experiment, results) is experiment
    (results / "theirs" / "import.json").unlink()
    assert imported(tmp_path / "config", results) == {"theirs": ""}
    with pytest.raises(TcmaxError, match=r"import\.json does not exist: what .*theirs\.yaml names is to be imported"):
        with_import(experiment, results)


def test_an_imported_file_says_where_it_comes_from_and_what_changed(tmp_path, scored):
    _, results = scored
    folder = results / "theirs" / "clips" / "fold_0" / "b"
    files = [
        results / "theirs" / "import.json",
        results / "theirs" / "clips" / "data.json",
        folder / "block_0.json",
        folder / "seed_1" / "predictions_last.parquet",
    ]
    for file in files:
        text = why_text(file, results)
        assert text.startswith(str(file))
        assert "predictions of theirs" in text
        assert "a test" in text
        assert text.endswith("up to date: code, settings and inputs are as recorded")
    assert "score" in why_text(results / "theirs" / "clips" / "items.parquet", results)  # made here, not imported
    np.savez(tmp_path / "b-1.npz", **arrays("b", 2))
    (tmp_path / "a-0.npz").unlink()
    files[-1].write_bytes(b"edited")
    text = why_text(files[-1], results)
    assert f"- {tmp_path / 'b-1.npz'} has changed since it was imported" in text
    assert f"- {tmp_path / 'a-0.npz'} is missing" in text
    assert "- predictions_last.parquet was altered after it was written" in text


def test_imported_results_cannot_be_trained(tmp_path, scored, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tcmax", "plan", str(tmp_path / "config" / "theirs.yaml")])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "theirs holds imported results; there is nothing to train." in capsys.readouterr().err


def test_importing_needs_no_torch():
    modules = "tcmax.commands.imports.write, tcmax.commands.analyse, tcmax.evidence.compare"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


PAGE = (ROOT / "docs" / "foreign-results.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.S)


def test_the_documented_example_prints_what_the_page_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (_, make), (_, mapping), (_, imported), (_, claims), (_, verdict) = BLOCKS[:5]
    exec(make, {})
    (tmp_path / "theirs.yaml").write_text(mapping)
    (tmp_path / "config" / "claims").mkdir(parents=True)
    (tmp_path / "config" / "claims" / "theirs.yaml").write_text(claims)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tcmax", *arguments])
        with pytest.raises(SystemExit, match="0"):
            cli.main()
        return capsys.readouterr().out

    assert run("import", "theirs.yaml") == imported
    run("score", "theirs", "--dataset", "clips")
    assert run("audit", "claims", "theirs").split() == verdict.split()


def test_the_mappings_of_the_page_are_valid(tmp_path):
    shown = [text for kind, text in BLOCKS if kind == "yaml" and "source:" in text and "claims:\n" not in text]
    assert len(shown) == 3
    for text in shown:
        path = tmp_path / "mapping.yaml"
        path.write_text(text)
        load_mapping(path)
