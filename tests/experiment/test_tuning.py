"""Where a search looks: ranges and what is wrong with them, and draws that stay when the budget grows."""

import math

import numpy as np
import pytest
import tiny
import yaml

from tcmax.errors import TcmaxError
from tcmax.experiment import tuning
from tcmax.experiment.grid import load
from tcmax.experiment.settings import TUNED, ExperimentSettings, RangeSettings

RATES = {"learning_rate": {"low": 0.001, "high": 0.1, "scale": "log"}}


def ranges(**given):
    return RangeSettings.model_validate(given)


def tuned(**changes):
    return tiny.experiment(tuning={"trials": 4, **changes})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "the range is empty: it needs low and high, or choices"),
        ({"low": 1}, "the range is empty: it needs low and high, or choices"),
        ({"choices": []}, "the range is empty: it has no choices"),
        ({"low": 2, "high": 2}, "the range is empty: low and high are both 2"),
        ({"low": 3, "high": 2}, "the range is reversed: low is 3 and high 2"),
        ({"low": 0, "high": 2, "scale": "log"}, "a log range goes through zero: low is 0"),
        ({"low": -1, "high": 2, "scale": "log"}, "a log range goes through zero: low is -1"),
        ({"low": 0.5, "high": 2, "scale": "integer"}, "an integer range has whole bounds"),
        ({"low": 1, "high": 2, "choices": [1]}, "choices, or bounds and a scale, not both"),
        ({"choices": [1, 2, 1]}, "a choice is listed twice"),
        ({"low": 1, "high": 2, "scale": "square"}, "'linear', 'log' or 'integer'"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused_in_one_sentence(tmp_path, given, sentence, installed_tiny):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny.raw(tuning={"trials": 4, "training": {"learning_rate": given}})))
    with pytest.raises(TcmaxError) as refused:
        load(path)
    said = str(refused.value)
    assert sentence.lower() in said.lower()
    assert said.startswith(f"{path}: tuning.training.learning_rate")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"trials": 4, "training": {"rate": {"choices": [1]}}}, "there is no 'rate' to tune; known: learning_rate"),
        ({"trials": 4, "metric": "js"}, "validation items have no 'js' to tune by; known: accuracy"),
        ({"trials": 4, "metric": "f2"}, "validation items have no 'f2' to tune by; known: accuracy"),
        ({"trials": 4, "searches": 2}, "one, or at least three"),
        ({"trials": 4, "searches": 3}, "3 searches share 2 seeds"),
        ({"trials": 4, "searches": 3, "sampler": "grid"}, "a grid is the same in every search"),
        ({"trials": 4, "training": {"momentum": {"low": 0, "high": 1}}}, "momentum: input should be less than 1"),
        ({"trials": 4, "training": {"epochs": {"low": 1, "high": 3}}}, "epochs: input should be a valid integer"),
        ({}, "tuning.trials: this key is missing"),
        ({"trials": 0}, "tuning.trials"),
        ({"trials": 4, "sampler": "best"}, "tuning.sampler"),
    ],
)
def test_a_tuning_that_makes_no_sense_is_refused_in_one_sentence(tmp_path, given, sentence, installed_tiny):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny.raw(tuning=given)))
    with pytest.raises(TcmaxError) as refused:
        load(path)
    assert sentence.lower() in str(refused.value).lower()
    assert "\n" not in str(refused.value)


def test_imported_results_are_not_tuned():
    content = {key: value for key, value in tiny.raw(imported="elsewhere").items() if key != "training"}
    with pytest.raises(ValueError, match="tuning: imported results are not trained"):
        ExperimentSettings.model_validate({**content, "tuning": {"trials": 4}})


def test_values_fill_their_range_in_its_scale():
    u = np.linspace(0, 1, 20001)
    log = [ranges(low=0.001, high=10, scale="log").value(x) for x in u]
    assert (min(log), max(log), np.median(log)) == (0.001, 10.0, pytest.approx(0.1, rel=1e-9))
    linear = [ranges(low=-1, high=3).value(x) for x in u]
    assert (min(linear), max(linear), np.mean(linear)) == (-1.0, 3.0, pytest.approx(1.0, abs=1e-3))
    whole = [ranges(low=2, high=4, scale="integer").value(x) for x in u]
    assert np.bincount(whole)[2:] == pytest.approx([6667] * 3, abs=1)
    assert {type(value) for value in whole} == {int}
    chosen = [ranges(choices=["a", "b"]).value(x) for x in u]
    assert chosen.count("a") == pytest.approx(chosen.count("b"), abs=1)


def test_a_printed_value_is_the_value_used():
    for value in (ranges(low=1e-4, high=1, scale="log").value(u) for u in np.random.default_rng(0).random(50)):
        assert float(f"{value:.3g}") == value


def test_the_points_of_a_grid_hold_both_ends():
    assert ranges(low=0.001, high=1, scale="log", steps=4).points() == (0.001, 0.01, 0.1, 1.0)
    assert ranges(low=0, high=1, steps=3).points() == (0.0, 0.5, 1.0)
    assert ranges(low=1, high=4, scale="integer", steps=4).points() == (1, 2, 3, 4)
    assert ranges(choices=[3, 1]).points() == (3, 1)


def test_more_trials_or_another_parameter_move_no_value_that_was_drawn():
    few = tuning.random_positions(["rate", "decay"], 5, "tiny", 0, 0)
    assert tuning.random_positions(["rate", "decay"], 64, "tiny", 0, 0)[:5] == few
    more = tuning.random_positions(["decay", "alpha", "rate"], 5, "tiny", 0, 0)
    assert [[rate, decay] for decay, _, rate in more] == few


def test_searches_folds_and_datasets_draw_apart_and_uniformly():
    drawn = [
        tuning.random_positions(["rate"], 400, *root) for root in (("a", 0, 0), ("b", 0, 0), ("a", 1, 0), ("a", 0, 1))
    ]
    values = np.array(drawn)[:, :, 0]
    assert np.abs(np.corrcoef(values) - np.eye(4)).max() < 0.2
    assert np.abs(np.sort(values, axis=1) - np.linspace(0, 1, 400)).max() < 1.63 / math.sqrt(400)  # Kolmogorov, 1 %


def test_a_grid_is_tried_whole_in_an_order_that_is_no_corner():
    space = {"rate": ranges(low=0, high=1, steps=3), "head": ranges(choices=["a", "b"])}
    found = tuning.points(space, 6, "here", "tiny", 0, 0)
    assert found == tuning.points(space, 6, "here", "tiny", 0, 0)
    assert {(one["rate"], one["head"]) for one in found} == {(r, h) for r in (0.0, 0.5, 1.0) for h in "ab"}
    assert found != sorted(found, key=lambda one: (one["rate"], one["head"]))


@pytest.mark.parametrize(("trials", "said"), [(5, "6 points, more than the budget of 5"), (7, "6 points, fewer than")])
def test_a_budget_that_is_no_grid_is_refused(trials, said):
    space = {"rate": ranges(low=0, high=1, steps=3), "head": ranges(choices=["a", "b"])}
    with pytest.raises(TcmaxError, match=said):
        tuning.points(space, trials, "here", "tiny", 0, 0)
    with pytest.raises(TcmaxError, match="the range of 'rate' needs `steps`"):
        tuning.points({"rate": ranges(low=0, high=1)}, 3, "here")


def test_blocks_of_trials_stay_when_there_are_more():
    blocks = tuning.trial_blocks(tuned(trials=20, trials_per_job=8).settings.tuning)
    assert [list(block) for block in blocks] == [list(range(8)), list(range(8, 16)), list(range(16, 20))]
    more = tuning.trial_blocks(tuned(trials=24, trials_per_job=8).settings.tuning)
    assert more[:2] == blocks[:2]


def test_seeds_are_dealt_out_among_searches_in_turn():
    experiment = tiny.experiment(seeds=[4, 9, 2, 7, 5], tuning={"trials": 2, "searches": 3})
    assert [tuning.search_of(experiment, seed) for seed in (4, 9, 2, 7, 5)] == [0, 1, 2, 0, 1]


def test_all_tune_the_declared_ranges_unless_the_experiment_says_otherwise():
    assert tuned().settings.tuning.training == TUNED
    assert list(tuned(training=RATES).settings.tuning.training) == ["learning_rate"]
