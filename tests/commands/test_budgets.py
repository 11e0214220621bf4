"""The same claims after fewer trials: what each budget trains, what it shares, and from where a verdict stays."""

import pytest
import tiny
import yaml

from tcmax.audit.budgets import stays_from, verdicts_by_budget
from tcmax.commands import analyse
from tcmax.commands.budgets import budgets_text, run_budget
from tcmax.commands.tune import seal
from tcmax.errors import TcmaxError
from tcmax.experiment import tuning
from tcmax.experiment.grid import Experiment, load
from tcmax.records.files import read_json
from tcmax.report.report_records import ReportRecords
from tcmax.report.tuning import budgets
from tcmax.report.tuning_figures import stability
from tcmax.training import datasets
from tcmax.training.jobs import train_block
from tcmax.training.loop import Runs
from tcmax.training.trials import train_trials

CLAIM = {
    "id": "c",
    "text": "TCMax is more accurate.",
    "source": {"document": "d", "section": "s"},
    "origin": "written before",
    "subject": "tcmax",
    "rivals": "joint",
    "metric": "accuracy",
    "relation": "greater",
}


@pytest.fixture
def sealed(tmp_path, installed_tiny):
    (tmp_path / "config" / "claims").mkdir(parents=True)
    (tmp_path / "config" / "claims" / "tiny.yaml").write_text(yaml.safe_dump({"claims": [CLAIM]}))
    rates = {"learning_rate": {"low": 0.001, "high": 0.5, "scale": "log"}}
    content = tiny.raw(
        seeds=[0, 1, 2],
        seeds_per_job=3,
        claims="tiny.yaml",
        variants={label: tiny.VARIANTS[label] for label in ("joint", "tcmax")},
        tuning={"trials": 4, "training": rates, "budgets": [0, 1, 2]},
    )
    (tmp_path / "config" / "tiny.yaml").write_text(yaml.safe_dump(content))
    experiment, results = load(tmp_path / "config" / "tiny.yaml"), tmp_path / "results"
    for cell in experiment.cells():
        train_trials(experiment, cell, 0, 0, results)
    seal(experiment, results)
    return experiment, results


def test_each_budget_trains_what_its_first_trials_choose_and_is_judged(sealed, monkeypatch):
    experiment, results = sealed
    for cell in experiment.cells():
        train_block(experiment, cell, 0, results)
    datasets.prepare(experiment, "tiny", results)
    analyse.score_dataset(experiment, "tiny", results)
    analyse.audit_experiment(experiment, results, None, None)
    trained = []
    train = Runs.train
    monkeypatch.setattr(Runs, "train", lambda run, after=None: trained.append(run.spec.training) or train(run, after))
    for budget in (0, 1, 2):
        run_budget(experiment, results, budget)
    found = verdicts_by_budget(experiment, results)
    assert set(found) == {"c"}
    assert sorted(found["c"]) == [0, 1, 2, 4]
    assert budgets_text(experiment, results).startswith("c: untuned ")
    assert trained[0]["learning_rate"] == 0.1  # as given
    distinct = set()
    for cell in experiment.cells():
        for budget in (1, 2):
            folder = tuning.budget_results(experiment, results, budget)
            (chosen,) = tuning.chosen(tuning.at_budget(experiment, budget), folder, cell)
            assert chosen.trial < budget
            record = read_json(folder / f"tiny/tiny/fold_0/{cell.variant}/seed_0/run.json")
            assert record["settings"]["training"]["learning_rate"] == chosen.values["learning_rate"]
            distinct.add((cell.variant, chosen.values["learning_rate"]))
        (whole,) = tuning.chosen(experiment, results, cell)
        distinct.discard((cell.variant, whole.values["learning_rate"]))
    assert len(trained) == 2 + len(distinct)  # untuned, and each choice that no other budget has
    figure = stability(ReportRecords(experiment, results))
    assert sorted(figure.data["trials"]) == [0, 1, 2, 4]
    assert "<svg" in figure.save(results)
    table = budgets(ReportRecords(experiment, results))
    assert [column.title for column in table.blocks[0].columns] == [
        "untuned",
        "1 trial",
        "2 trials",
        "4 trials",
        "stays from",
    ]


def test_a_budget_that_is_not_named_or_not_sealed_is_refused(sealed):
    experiment, results = sealed
    with pytest.raises(TcmaxError, match="3 is none of them; known: 0, 1, 2"):
        run_budget(experiment, results, 3)
    tuning.choices_path(experiment, results).unlink()
    with pytest.raises(TcmaxError, match="does not exist"):
        run_budget(experiment, results, 1)


@pytest.mark.parametrize(
    ("verdicts", "stays"),
    [
        ({}, None),
        ({16: "supported"}, 16),
        ({0: "supported", 1: "supported", 16: "supported"}, 0),
        ({0: "contradicted", 1: "supported", 4: "contradicted", 8: "supported", 16: "supported"}, 8),
        ({0: "supported", 16: "contradicted"}, 16),
    ],
)
def test_the_smallest_budget_from_which_a_verdict_stays(verdicts, stays):
    assert stays_from(verdicts) == stays


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budgets": [2, 1]}, "budgets: increasing numbers of trials below 4"),
        ({"budgets": [4]}, "budgets: increasing numbers of trials below 4"),
        ({"budgets": [1], "sampler": "grid"}, "a part of a grid is no smaller search"),
        ({"budgets": [1]}, "there are no claims to judge"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        tiny.experiment(tuning={"trials": 4, **changes})


def test_untuned_is_the_experiment_without_its_search():
    experiment = tiny.experiment(tuning={"trials": 4})
    assert tuning.at_budget(experiment, 0).settings.tuning is None
    assert tuning.at_budget(experiment, 3).settings.tuning.trials == 3
    assert isinstance(tuning.at_budget(experiment, 3), Experiment)
