"""The choice: what trials score, which one is chosen, and what is said of its place in the range."""

import json

import numpy as np
import pytest
import tiny

from tcmax.commands.tune import at_edge, seal, seal_text
from tcmax.errors import TcmaxError
from tcmax.experiment import tuning
from tcmax.experiment.grid import Cell
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json, sha256, write_json

CELL = Cell("tiny", 0, "v")


def made(folder, *scores, metric="accuracy", readout="own", seeds=1, own="joint", **changes):
    """An experiment whose trials have these validation accuracies of 10 items; None: diverged."""
    n = len(scores) // seeds
    settings = tiny.experiment(
        variants={"v": {"method": "joint"}},
        tuning={"trials": n, "seeds_per_trial": seeds, "metric": metric, "readout": readout},
        **changes,
    )
    manifest = tuning.search_folder(folder, "tiny", CELL, 0) / "block_0.json"
    runs = []
    for k, score in enumerate(scores):
        trial, seed = divmod(k, seeds)
        place = manifest.parent / f"trial_{trial}" / f"seed_{seed}"
        common = {"dataset": "tiny", "fold": 0, "variant": "v", "seed": seed}
        history = {"epoch": [0, 1], "quantity": ["count.optimizer_steps"] * 2, "value": [7.0, 7.0]}
        parquet.write(place / "history.parquet", kinds.HISTORY, {**common, **history}, {"run_key": "k"})
        written = {"history": place / "history.parquet"}
        if score is not None:
            labels = np.arange(10) % 2
            right = np.arange(10) < round(10 * score)
            logits = np.where((np.arange(2) == labels[:, None]) == right[:, None], 3.0, 0.0).astype(np.float32)
            written["predictions_last"] = place / "predictions_last.parquet"
            columns = {"split": ["val"] * 10, "item": [f"i{i}" for i in range(10)], "label": labels}
            columns |= {"logits_joint": logits, "logits_left": -logits, "logits_right": logits, "run_key": "k"}
            header = {"readout": own, "classes": ["a", "b"]}
            parquet.write(written["predictions_last"], kinds.PREDICTIONS, {**common, **columns}, header)
        files = {
            name: {"path": str(path.relative_to(manifest.parent)), "sha256": sha256(path)}
            for name, path in written.items()
        }
        values = {"learning_rate": round(0.1 * (trial + 1), 1)}
        status = "diverged" if score is None else "finished"
        runs.append(
            {"trial": trial, "values": values, "seed": seed, "run_key": f"k{k}", "status": status, "files": files}
        )
    write_json(manifest, {"search": 0, "block": 0, "runs": runs})
    return settings


def choice(settings, folder):
    seal(settings, folder)
    ((one,),) = [entry["searches"] for entry in tuning.read_choices(settings, folder)["cells"]]
    return one


def test_the_best_trial_on_validation_items_is_chosen_and_the_first_of_equal_ones(tmp_path):
    one = choice(made(tmp_path, 0.5, 0.8, 0.8, 0.6), tmp_path)
    assert (one["trial"], one["score"], one["values"]) == (1, 0.8, {"learning_rate": 0.2})
    assert [trial["scores"] for trial in one["trials"]] == [[0.5], [0.8], [0.8], [0.6]]
    assert one["steps"] == 4 * 14


def test_a_metric_that_is_better_lower_chooses_the_lowest(tmp_path):
    assert choice(made(tmp_path, 0.5, 0.8, 0.6, metric="nll"), tmp_path)["trial"] == 1


def test_a_diverged_trial_is_a_trial_and_is_not_chosen(tmp_path):
    one = choice(made(tmp_path, None, 0.3, None), tmp_path)
    assert (one["trial"], one["diverged"], len(one["trials"])) == (1, [0, 2], 3)
    assert one["trials"][0]["scores"] == [None]


def test_a_trial_with_one_diverged_seed_comes_after_all_sound_ones(tmp_path):
    one = choice(made(tmp_path, 0.9, None, 0.4, 0.2, seeds=2), tmp_path)
    assert (one["trial"], one["score"]) == (1, pytest.approx(0.3))


def test_where_every_trial_diverged_the_first_is_chosen_and_that_is_said(tmp_path):
    settings = made(tmp_path, None, None)
    assert (choice(settings, tmp_path)["trial"], choice(settings, tmp_path)["score"]) == (0, None)
    assert "every trial diverged" in seal_text(settings, tmp_path)


def test_another_read_out_is_judged_where_it_is_asked_for(tmp_path):
    assert choice(made(tmp_path / "a", 0.5, 0.8, 0.2, readout="left"), tmp_path / "a")["trial"] == 2
    assert choice(made(tmp_path / "b", 0.5, 0.8, 0.2, own="joint_entropy_gated"), tmp_path / "b")["score"] is not None
    with pytest.raises(TcmaxError, match="there is no read-out 'middle'; known: own, joint, left, right"):
        seal(made(tmp_path / "c", 0.5, 0.8, readout="middle"), tmp_path / "c")


def test_the_choice_says_the_same_in_equal_bytes(tmp_path):
    settings = made(tmp_path, 0.5, 0.8)
    path = seal(settings, tmp_path)
    first = path.read_bytes()
    assert seal(settings, tmp_path).read_bytes() == first
    assert json.loads(first)["tuning"]["trials"] == 2


def test_a_missing_or_altered_trial_is_named_with_what_trains_it(tmp_path):
    settings = made(tmp_path, 0.5, 0.8)
    path = tuning.search_folder(tmp_path, "tiny", CELL, 0) / "trial_1/seed_0/predictions_last.parquet"
    path.write_bytes(b"")
    with pytest.raises(TcmaxError, match=r"trial_1/seed_0/predictions_last\.parquet is not the file that .* lists"):
        seal(settings, tmp_path)
    (manifest,) = tuning.trial_manifests(settings, tmp_path, CELL)
    manifest.unlink()
    with pytest.raises(TcmaxError, match="tcmax trials tiny --dataset tiny --fold 0 --variant v --search 0 --block 0"):
        seal(settings, tmp_path)
    assert not tuning.choices_path(settings, tmp_path).exists()


def test_a_search_that_is_not_finished_seals_nothing(tmp_path):
    made(tmp_path, 0.5, 0.8)
    with pytest.raises(TcmaxError, match="holds 2 trials, not 3"):
        seal(tiny.experiment(variants={"v": {"method": "joint"}}, tuning={"trials": 3}), tmp_path)


def test_a_chosen_value_with_nothing_tried_beyond_it_is_at_the_edge():
    tried = [{"rate": rate, "two": rate > 0.2, "name": "x", "pair": round(rate)} for rate in (0.1, 0.2, 0.4, 0.8)]
    assert at_edge(tried[3], tried) == {"rate": "highest"}
    assert at_edge(tried[0], tried) == {"rate": "lowest"}
    assert at_edge(tried[1], tried) == {}


def test_the_lines_name_cell_trial_values_and_edge(tmp_path):
    settings = made(tmp_path, 0.5, 0.8, 0.9)
    seal(settings, tmp_path)
    assert seal_text(settings, tmp_path).splitlines()[1:] == [
        "  tiny fold 0 v search 0: trial 2 (0.9), learning_rate 0.3; learning_rate is the highest tried"
    ]
    assert read_json(tuning.choices_path(settings, tmp_path))["version"] == tuning.CHOICES_VERSION
