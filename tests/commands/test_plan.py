"""The plan: how many runs and jobs, what is finished as the experiment now stands, how long and how much disk."""

import dataclasses

import pytest
import tiny
import yaml

from tcmax.commands import plan
from tcmax.commands.plan import plan_text
from tcmax.commands.tune import seal
from tcmax.data import DATASETS
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Cell
from tcmax.models.encoders import ENCODERS
from tcmax.records.files import read_json, write_json
from tcmax.registry import Entry
from tcmax.training import datasets, jobs
from tcmax.training.trials import train_trials

pytestmark = pytest.mark.usefixtures("installed_tiny")
TWO = {label: tiny.VARIANTS[label] for label in ("joint", "unimodal")}


def test_runs_and_jobs_are_counted_over_folds_seeds_and_blocks(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS.entries, "tiny", Entry("tiny:three_folds"))
    datasets = {"tiny": {"encoder": {"name": "mlp", "hidden": [4]}, "folds": 3}}
    experiment = tiny.experiment(seeds=[0, 1, 2, 3, 4], seeds_per_job=2, datasets=datasets, variants=TWO)
    entries = plan.plan(experiment, tmp_path)
    assert list(tmp_path.iterdir()) == []  # a plan writes nothing
    assert [(entry.variant, entry.folds, entry.runs, entry.jobs) for entry in entries] == [
        ("joint", 3, 15, 9),
        ("unimodal", 3, 15, 9),
    ]


def test_only_runs_that_are_finished_as_the_experiment_now_stands_count(tmp_path):
    experiment = tiny.experiment(variants=TWO)
    jobs.train_block(experiment, Cell("tiny", 0, "joint"), 0, tmp_path)
    joint, unimodal = plan.plan(experiment, tmp_path)
    assert (joint.finished, joint.measured) == (2, True)
    assert (unimodal.finished, unimodal.measured) == (0, False)
    assert unimodal.seconds_per_run > 0
    longer = tiny.experiment(variants=TWO, training=tiny.training(epochs=5))
    assert [entry.finished for entry in plan.plan(longer, tmp_path)] == [0, 0]
    more = tiny.experiment(variants=TWO, seeds=[0, 1, 2])
    assert [entry.finished for entry in plan.plan(more, tmp_path)] == [2, 0]


def test_the_time_of_a_run_is_the_median_of_finished_ones(tmp_path):
    experiment = tiny.experiment(variants=TWO, seeds=[0, 1, 2], seeds_per_job=3)
    manifest = jobs.train_block(experiment, Cell("tiny", 0, "joint"), 0, tmp_path)
    for seed, seconds in enumerate((5.0, 100.0, 7.0)):
        path = manifest.parent / f"seed_{seed}" / "sidecar.json"
        write_json(path, {**read_json(path), "seconds": seconds})
    assert plan.plan(experiment, tmp_path)[0].seconds_per_run == 7.0


def test_the_text_says_what_is_left(tmp_path, monkeypatch):
    experiment = tiny.experiment(variants=TWO, seeds=list(range(10)), seeds_per_job=4)
    monkeypatch.setattr(plan, "_timed", lambda *arguments: 30.0)
    assert plan_text(experiment, tmp_path).splitlines() == [
        "tiny: 1 fold, 2 variants",
        "  joint       10 runs in 3 jobs, 0 finished, 30.0 s a run (timed on a few steps)",
        "  unimodal    10 runs in 3 jobs, 0 finished, 30.0 s a run (timed on a few steps)",
        "",
        "tiny: 20 runs in 6 training jobs (10 seeds, 4 to a job); 0 are finished.",
        "Training left: 10 min on one core, 5 min on two.",
        "Predictions: about 0 MiB before compression.",
    ]


def test_disk_is_items_times_classes_times_read_outs_times_rules_times_seeds():
    experiment = tiny.experiment(seeds=list(range(4096)), variants={"joint": TWO["joint"]})
    data = tiny.dataset()
    expected = 4096 * 25 * 3 * 3 * 4 * 3 / 2**20
    assert plan._mebibytes(experiment, 1, data) == pytest.approx(expected)
    half = tiny.experiment(seeds=list(range(4096)), half_precision_logits=True)
    assert plan._mebibytes(half, 1, data) == pytest.approx(expected / 2)


def test_data_that_is_not_here_leaves_times_unknown(tmp_path, monkeypatch):
    monkeypatch.delenv("TCMAX_DATA", raising=False)
    datasets = {"av-digits": {"encoder": {"name": "cnn"}, "folds": 6}}
    experiment = tiny.experiment(datasets=datasets, variants=TWO)
    text = plan_text(experiment, tmp_path)
    assert "12 runs in 6 jobs, 0 finished, time unknown (the data is not here)" in text
    assert "Training left" not in text
    assert "Predictions" not in text


def test_a_dataset_that_needs_preparation_is_counted_and_says_so(tmp_path):
    absent = {"crema-d": {"encoder": {"name": "resnet152"}, "needs": "7,442 clips"}}
    experiment = tiny.experiment(datasets={**tiny.raw()["datasets"], **absent}, variants=TWO)
    lines = plan_text(experiment, tmp_path).splitlines()
    at = lines.index("crema-d: 1 fold, 2 variants")
    assert lines[at + 1] == "  needs preparation: 7,442 clips."
    assert lines[at + 2].endswith("2 runs in 1 jobs, 0 finished, time unknown (needs preparation)")
    assert "tiny: 8 runs in 4 training jobs (2 seeds, 2 to a job); 0 are finished." in lines
    assert lines[-1].startswith("Not available in this installation: crema-d.")
    assert not any(line.startswith("Training left") for line in lines)


def test_jobs_of_such_a_dataset_have_keys_and_end_with_what_it_needs(tmp_path, monkeypatch):
    absent = {"crema-d": {"encoder": {"name": "resnet152"}, "needs": "7,442 clips"}}
    experiment = tiny.experiment(datasets=absent, variants=TWO)
    cell = Cell("crema-d", 0, "joint")
    before = (jobs.block_key(experiment, cell, 0), datasets.data_key(experiment, "crema-d"))
    with pytest.raises(TcmaxError, match=r"crema-d is not available in this installation; it needs 7,442 clips\."):
        datasets.prepare(experiment, "crema-d", tmp_path)
    with pytest.raises(TcmaxError, match="it needs 7,442 clips"):
        jobs.train_block(experiment, cell, 0, tmp_path)
    monkeypatch.setitem(DATASETS.entries, "crema-d", Entry("tcmax.data.digits:halves"))
    monkeypatch.setitem(ENCODERS.entries, "resnet152", Entry("tcmax.models.encoders.mlp:MLP"))
    after = (jobs.block_key(experiment, cell, 0), datasets.data_key(experiment, "crema-d"))
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_facts_that_change_no_number_change_no_key():
    plain = {"datasets": tiny.raw()["datasets"], "variants": TWO}
    told = {
        "datasets": {"tiny": {**plain["datasets"]["tiny"], "needs": "nothing more"}},
        "variants": {label: {**variant, "tuning_trials": 20} for label, variant in TWO.items()},
    }
    keys = {jobs.block_key(tiny.experiment(**changes), Cell("tiny", 0, "joint"), 0) for changes in (plain, told)}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 h")]
)
def test_durations_are_told_in_a_readable_unit(seconds, text):
    assert plan._duration(seconds) == text


def test_a_mistake_in_the_claims_file_is_met_before_anything_is_trained(tmp_path):
    (tmp_path / "claims").mkdir()
    experiment = dataclasses.replace(tiny.experiment(claims="c.yaml", variants=TWO), path=tmp_path / "tiny.yaml")
    claim = {"id": "typo", "text": "x", "source": {"document": "d", "section": "1"}, "origin": "published"}
    claim |= {"subject": "joint", "rivals": "unimodel", "metric": "accuracy", "relation": "greater"}
    (tmp_path / "claims" / "c.yaml").write_text(yaml.safe_dump({"claims": [claim]}))
    with pytest.raises(TcmaxError, match=r"c\.yaml: claims\.typo\.rivals: there is no variant 'unimodel'"):
        plan_text(experiment, tmp_path)


def test_tuning_is_counted_and_priced_apart(tmp_path, monkeypatch):
    tune = {"trials": 3, "seeds_per_trial": 2, "searches": 3, "trials_per_job": 2}
    experiment = tiny.experiment(variants=TWO, seeds=[0, 1, 2], seeds_per_job=3, tuning=tune)
    monkeypatch.setattr(plan, "_timed", lambda *arguments: 30.0)
    lines = plan_text(experiment, tmp_path).splitlines()
    assert (
        "Tuning before that: 3 trials in each of 3 searches (random) for every variant and dataset, 36 runs in 12 "
        "jobs; 0 are finished."
    ) in lines
    assert "Tuning left: 18 min on one core, 9 min on two." in lines
    assert "Training left: 3 min on one core, 90 s on two." in lines


def test_trials_that_are_finished_are_not_priced_again_and_give_their_own_time(tmp_path):
    experiment = tiny.experiment(variants={"joint": TWO["joint"]}, tuning={"trials": 3})
    train_trials(experiment, Cell("tiny", 0, "joint"), 0, 0, tmp_path)
    (entry,) = plan.plan(experiment, tmp_path)
    assert (entry.trials, entry.finished_trials, entry.finished) == (3, 3, 0)
    more = tiny.experiment(variants={"joint": TWO["joint"]}, tuning={"trials": 5})
    assert [(one.trials, one.finished_trials) for one in plan.plan(more, tmp_path)] == [(5, 3)]
    seal(experiment, tmp_path)
    jobs.train_block(experiment, Cell("tiny", 0, "joint"), 0, tmp_path)
    assert plan.plan(experiment, tmp_path)[0].finished == 2
    assert plan.plan(more, tmp_path)[0].finished == 0  # the choice is not sealed under this tuning
