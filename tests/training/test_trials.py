"""Trials: equally many, the same whatever is beside them, and without a look at test items."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import tiny
import torch

from tcmax.commands.tune import seal
from tcmax.errors import TcmaxError
from tcmax.experiment import tuning
from tcmax.experiment.grid import Cell
from tcmax.methods import METHODS
from tcmax.methods.joint import Joint
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json
from tcmax.registry import Entry
from tcmax.training import jobs, trials
from tcmax.training.jobs import train_block
from tcmax.training.loop import Runs
from tcmax.training.spec import resolve_run
from tcmax.training.trials import check_tuning, score_trials, sobol_positions, space_of, train_trials, trial_values

pytestmark = pytest.mark.usefixtures("installed_tiny")
JOINT = Cell("tiny", 0, "joint")
WIDE = {"learning_rate": {"low": 0.01, "high": 0.5, "scale": "log"}}
TUNING = {"trials": 3, "training": {**WIDE, "weight_decay": {"low": 1e-5, "high": 1e-2, "scale": "log"}}}


def experiment(tune=None, **changes):
    return tiny.experiment(tuning={**TUNING, **(tune or {})}, **changes)


@pytest.fixture
def trained(monkeypatch):
    """(variant, stage, seed) of every run that is really trained, by call."""
    seen = []
    train = Runs.train

    def count(run, after_epoch=None):
        seen.append([(run.spec.variant, root[:-3], root[-1]) for root in run.roots])
        return train(run, after_epoch)

    monkeypatch.setattr(Runs, "train", count)
    return seen


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("sidecar.json", ".lock") and not path.name.endswith("provenance.json")
    }


def use(monkeypatch, data):
    for module in (jobs, trials):
        monkeypatch.setattr(module, "load_dataset", lambda *_: data)


def poisoned(data):
    """The same data with test inputs that are not numbers and test labels that are wrong."""
    data = dataclasses.replace(data, labels=data.labels.copy(), inputs={k: v.copy() for k, v in data.inputs.items()})
    test = data.folds[0].test
    data.labels[test] = (data.labels[test] + 1) % data.n_classes
    for array in data.inputs.values():
        array[test] = np.nan
    return data


METHODS_WITH_STATE = {
    "joint": {"method": "joint", "head": "concat"},
    "unimodal": {"method": "unimodal", "head": "sum"},
    "tcmax": {"method": "tcmax", "head": "shared-head"},
    "mla": {"method": "mla"},
    "qmf": {"method": "qmf"},
    "g-blending": {"method": "g-blending", "parameters": {"super_epoch": 2}},
}


@pytest.mark.parametrize("selection", ["last", "best_val"])
@pytest.mark.parametrize("name", METHODS_WITH_STATE)
def test_poisoned_test_items_change_no_trial_no_choice_and_no_weights(tmp_path, monkeypatch, name, selection):
    settings = experiment(variants={"v": METHODS_WITH_STATE[name]}, selection=selection)
    data = tiny.dataset()
    for folder, given in (("clean", data), ("poisoned", poisoned(data))):
        use(monkeypatch, given)
        train_trials(settings, Cell("tiny", 0, "v"), 0, 0, tmp_path / folder)
        seal(settings, tmp_path / folder)
    clean = contents(tmp_path / "clean")
    assert clean == contents(tmp_path / "poisoned")
    assert sum(path.endswith("weights.npz") for path in clean) == 3
    assert any(path.endswith("choices.json") for path in clean)


def test_a_trial_holds_no_row_of_a_test_item(tmp_path, monkeypatch):
    seen = []
    init = Runs.__init__

    def look(run, spec, seeds, dataset, *rest):
        seen.append(dataset)
        init(run, spec, seeds, dataset, *rest)

    monkeypatch.setattr(Runs, "__init__", look)
    manifest = train_trials(experiment(), JOINT, 0, 0, tmp_path)
    whole = tiny.dataset()
    tested = set(whole.items[whole.folds[0].test].tolist())
    (used,) = seen
    assert not tested & set(used.items.tolist())
    assert len(used.labels) == 26 + 12
    assert {len(array) for array in used.inputs.values()} == {26 + 12}
    (run, *_) = read_json(manifest)["runs"]
    table = parquet.read(manifest.parent / run["files"]["predictions_last"]["path"], kinds.PREDICTIONS)
    assert table["item"].to_pylist() == whole.items[whole.folds[0].val].tolist()
    assert set(run["files"]) == {"history", "predictions_best_val", "predictions_last", "weights"}
    history = parquet.read(manifest.parent / run["files"]["history"]["path"], kinds.HISTORY)
    assert not [name for name in history["quantity"].unique().to_pylist() if ".test." in name]


def test_a_dataset_without_test_keeps_rows_order_and_fold_number():
    data = tiny.three_folds()
    kept = data.without_test(2)
    for part in ("train", "val"):
        rows, own = data.folds[2].part(part), kept.folds[2].part(part)
        assert kept.items[own].tolist() == data.items[rows].tolist()
        assert np.array_equal(kept.inputs["left"][own], data.inputs["left"][rows])
        assert kept.labels[own].tolist() == data.labels[rows].tolist()
        assert kept.groups["speaker"][own].tolist() == data.groups["speaker"][rows].tolist()
    assert len(kept.folds[2].test) == 0


def test_the_trials_of_a_search_train_side_by_side_in_one_call(tmp_path, trained):
    train_trials(experiment({"seeds_per_trial": 2}), JOINT, 0, 0, tmp_path)
    assert trained == [[("joint", ("tuning", 0, trial), seed) for trial in range(3) for seed in range(2)]]


def test_a_trial_gives_beside_others_what_it_gives_alone(tmp_path, monkeypatch):
    data = tiny.dataset({"left": (16,), "right": (32,)}, train=32, n_classes=4)
    use(monkeypatch, data)
    sizes = {"datasets": {"tiny": {"encoder": {"name": "mlp", "hidden": [16]}}}}
    sizes["training"] = tiny.training(batch_size=16)
    for label in ("joint", "tcmax"):
        for folder, each in (("together", 64), ("apart", 1)):
            settings = experiment({"trials_per_job": each}, **sizes)
            for block in range(len(tuning.trial_blocks(settings.settings.tuning))):
                train_trials(settings, Cell("tiny", 0, label), 0, block, tmp_path / folder)
    one, other = (
        {path: content for path, content in contents(tmp_path / folder).items() if "block_" not in path}
        for folder in ("together", "apart")
    )
    assert one == other


def test_rates_and_decays_of_their_own_give_what_one_run_with_them_gives():
    """Against the loop with one rate for all, to rounding."""
    data = tiny.dataset()
    plain = tiny.experiment(precision="float64")
    specs = [
        resolve_run(plain, data, "tiny", 0, "joint", tuning.Tuned({"learning_rate": rate, "weight_decay": decay}))
        for rate, decay in ((0.3, 0.0), (0.01, 1e-2), (0.1, 1e-4))
    ]
    together = Runs(specs, [5, 5, 6], data, torch.device("cpu")).train()
    for spec, seed, result in zip(specs, (5, 5, 6), together, strict=True):
        (alone,) = Runs(spec, [seed], data, torch.device("cpu")).train()
        np.testing.assert_allclose(
            alone.selected["last"].logits["joint"], result.selected["last"].logits["joint"], 1e-9
        )
        assert [row for row in alone.history if row[1] == "learning_rate"] == [
            row for row in result.history if row[1] == "learning_rate"
        ]


def test_what_is_not_a_rate_cannot_differ_side_by_side():
    data, plain = tiny.dataset(), tiny.experiment()
    specs = [
        resolve_run(plain, data, "tiny", 0, "joint", tuning.Tuned({"momentum": momentum})) for momentum in (0.5, 0.9)
    ]
    with pytest.raises(ValueError, match="cannot train side by side"):
        Runs(specs, [0, 1], data, torch.device("cpu"))


def test_a_larger_budget_trains_only_what_is_new(tmp_path, trained):
    train_trials(experiment(), JOINT, 0, 0, tmp_path)
    before = contents(tmp_path)
    train_trials(experiment({"trials": 5}), JOINT, 0, 0, tmp_path)
    assert [root[2] for _, root, _ in trained[1]] == [3, 4]
    after = contents(tmp_path)
    assert {path for path in before if after[path] != before[path]} == {
        "tiny/tiny/fold_0/joint/tuning/search_0/block_0.json"
    }


def test_a_trial_that_was_interrupted_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    settings = experiment(checkpoint_seconds=0, selection="best_val")
    train_trials(settings, JOINT, 0, 0, tmp_path / "whole")
    train = Runs.train

    def killed(run, after_epoch=None):
        def stop(current):
            after_epoch(current)
            if current.epoch == 2:
                raise KeyboardInterrupt

        return train(run, stop)

    monkeypatch.setattr(Runs, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        train_trials(settings, JOINT, 0, 0, tmp_path / "parts")
    monkeypatch.setattr(Runs, "train", train)
    train_trials(settings, JOINT, 0, 0, tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_no_trial_shares_a_random_stream_with_a_run_or_another_trial():
    data, settings = tiny.dataset(), experiment()
    final = resolve_run(settings, data, "tiny", 0, "joint")
    roots = {final.root(seed) for seed in range(20)}
    for search in range(3):
        for trial in range(5):
            spec = resolve_run(settings, data, "tiny", 0, "joint", stage=("tuning", search, trial))
            roots |= {spec.root(seed) for seed in range(20)}
    assert len(roots) == 20 + 3 * 5 * 20
    starts = [
        resolve_run(settings, data, "tiny", 0, "joint", stage=stage).build_model(data, 0).state_dict()
        for stage in ((), ("tuning", 0, 0), ("tuning", 0, 1))
    ]
    name = next(name for name in starts[0] if name.endswith("weight"))
    assert not any(torch.equal(starts[a][name], starts[b][name]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_seeds_are_trained_with_what_was_chosen(tmp_path):
    settings = experiment(variants={"joint": tiny.VARIANTS["joint"]})
    with pytest.raises(TcmaxError, match=r"choices\.json does not exist: train the trials"):
        train_block(settings, JOINT, 0, tmp_path)
    train_trials(settings, JOINT, 0, 0, tmp_path)
    seal(settings, tmp_path)
    (chosen,) = tuning.chosen(settings, tmp_path, JOINT)
    train_block(settings, JOINT, 0, tmp_path)
    record = read_json(tmp_path / "tiny/tiny/fold_0/joint/seed_0/run.json")
    trained_with = {name: record["settings"]["training"][name] for name in chosen.values}
    assert trained_with == chosen.values
    given = tiny.experiment(variants={"joint": tiny.VARIANTS["joint"]}, training=tiny.training(**chosen.values))
    train_block(given, JOINT, 0, tmp_path / "given")
    final = "tiny/tiny/fold_0/joint"
    for seed in (0, 1):  # the same run as if an experiment had named these values
        for path in (tmp_path / "given" / final / f"seed_{seed}").glob("*.parquet"):
            assert path.read_bytes() == (tmp_path / final / f"seed_{seed}" / path.name).read_bytes()


def test_the_seeds_of_several_searches_train_together_with_their_own_choices(tmp_path, trained):
    settings = experiment(
        {"searches": 3, "trials": 2}, seeds=[0, 1, 2, 3], seeds_per_job=4, variants={"joint": tiny.VARIANTS["joint"]}
    )
    for search in range(3):
        train_trials(settings, JOINT, search, 0, tmp_path)
    seal(settings, tmp_path)
    trained.clear()
    train_block(settings, JOINT, 0, tmp_path)
    assert len(trained) == 1
    chosen = [one.values for one in tuning.chosen(settings, tmp_path, JOINT)]
    assert len({str(values) for values in chosen}) == 3
    for seed in range(4):
        record = read_json(tmp_path / f"tiny/tiny/fold_0/joint/seed_{seed}/run.json")
        training = record["settings"]["training"]
        assert {name: training[name] for name in chosen[0]} == chosen[seed % 3]


def test_a_sealed_choice_is_a_part_of_the_blocks_key(tmp_path):
    settings = experiment(variants={"joint": tiny.VARIANTS["joint"]})
    train_trials(settings, JOINT, 0, 0, tmp_path)
    path = seal(settings, tmp_path)
    key = jobs.block_key(settings, JOINT, 0, tmp_path)
    text = path.read_text()
    (chosen,) = tuning.chosen(settings, tmp_path, JOINT)
    rate = chosen.values["learning_rate"]
    path.write_text(text.replace(f'"learning_rate": {rate}', '"learning_rate": 0.123'))
    assert jobs.block_key(settings, JOINT, 0, tmp_path) != key
    with pytest.raises(TcmaxError, match="sealed under another `tuning`"):
        jobs.block_key(experiment({"trials": 4}), JOINT, 0, tmp_path)


def test_the_key_of_trials_follows_what_trains_them_and_not_how_they_are_judged():
    def key(tune=None, search=0, **changes):
        return jobs.trials_key(experiment(tune, **changes), JOINT, search, 0)

    same = [
        key({"metric": "nll"}),
        key({"readout": "joint"}),
        key({"searches": 1}),
        key({"methods": {"agm": {"alpha": {"low": 0, "high": 1}}}}),
        key(title="Another"),
    ]
    assert {*same} == {key()}
    others = [
        key({"trials": 4}),
        key({"sampler": "sobol"}),
        key({"seeds_per_trial": 2}),
        key({"training": WIDE}),
        key(search=1),
        key(training=tiny.training(epochs=5)),
        key(selection="best_val"),
        key(pin_code="v1"),
    ]
    assert len({key(), *others}) == len(others) + 1


@pytest.mark.parametrize("name", METHODS_WITH_STATE)
@pytest.mark.parametrize("selection", ["last", "best_val"])
def test_kept_weights_predict_what_the_trial_predicted_and_the_test_items_once_it_is_sealed(tmp_path, name, selection):
    """In arithmetic that does not depend on what is beside: the trial's own validation logits, byte for byte."""
    settings = experiment({"trials_per_job": 1}, variants={"v": METHODS_WITH_STATE[name]}, selection=selection)
    cell, data = Cell("tiny", 0, "v"), tiny.dataset()
    manifests = [train_trials(settings, cell, 0, block, tmp_path) for block in range(3)]
    with pytest.raises(TcmaxError, match="does not exist"):
        score_trials(settings, cell, tmp_path)
    seal(settings, tmp_path)
    listed = read_json(score_trials(settings, cell, tmp_path))["runs"]
    assert [run["trial"] for run in listed] == [0, 1, 2]
    for manifest in manifests:
        (run,) = read_json(manifest)["runs"]
        spec = resolve_run(settings, data, "tiny", 0, "v", tuning.tuned_of(run["values"]), ("tuning", 0, run["trial"]))
        whole = Runs([spec], [0], data, torch.device("cpu"))
        logits = whole.predicted_with(jobs.read_weights(manifest.parent / run["files"]["weights"]["path"]))
        path = manifest.parent / run["files"][f"predictions_{selection}"]["path"]
        table = parquet.read(path, kinds.PREDICTIONS)
        tested = parquet.read(path.with_name("predictions_test.parquet"), kinds.PREDICTIONS)
        assert tested["item"].to_pylist() == data.items[data.folds[0].test].tolist()
        assert tested["label"].to_pylist() == data.labels[data.folds[0].test].tolist()
        for readout in parquet.readouts(table):
            np.testing.assert_allclose(logits[readout][:12], parquet.logits(table, readout), rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(logits[readout][12:], parquet.logits(tested, readout))


def test_weights_are_read_without_running_code(tmp_path):
    np.savez(tmp_path / "weights.npz", **{"joint/model.x": np.array([print], dtype=object)})
    with pytest.raises(TcmaxError, match="holds no weights"):
        jobs.read_weights(tmp_path / "weights.npz")
    (tmp_path / "weights.npz").write_bytes(b"PK nonsense")
    with pytest.raises(TcmaxError, match="holds no weights"):
        jobs.read_weights(tmp_path / "weights.npz")


class Searched(Joint):
    """Declares a range that its parameters do not have."""

    search: ClassVar = {"alpha": {"low": 0, "high": 1}}


@pytest.mark.parametrize(
    ("tune", "sentence"),
    [
        ({"methods": {"ogm-ge": {"beta": {"low": 0, "high": 1}}}}, "tuning.methods.ogm-ge: unknown parameter 'beta'"),
        ({"methods": {"ogm-ge": {"alpha": {"low": -1, "high": 1}}}}, "alpha must not be negative"),
        (
            {"methods": {"ogm-ge": {"alpha": {"choices": ["x"]}}}},
            "tuning.methods.ogm-ge.alpha: input should be a valid number (got 'x')",
        ),
        ({"methods": {"agm": {"alpha": {"low": 0, "high": 1}}}}, "tuning.methods.agm: no variant uses this method"),
        ({"methods": {"ogmm": {}}}, "tuning.methods: unknown method 'ogmm'"),
        ({"sampler": "grid"}, "the range of 'learning_rate' needs `steps`"),
        (
            {
                "sampler": "grid",
                "training": {"learning_rate": {"choices": [0.1, 0.2, 0.3, 0.4]}},
                "methods": {"ogm-ge": {}},
            },
            "variants.joint: its grid has 4 points, more than the budget of 3 trials",
        ),
    ],
)
def test_a_search_that_does_not_fit_is_refused_before_any_job(tune, sentence):
    with pytest.raises(TcmaxError) as refused:
        check_tuning(experiment(tune))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_a_method_declares_is_checked_as_well(monkeypatch):
    monkeypatch.setitem(METHODS.entries, "searched", Entry(f"{__name__}:Searched"))
    with pytest.raises(
        TcmaxError, match="the method searched declares a search that does not fit it: unknown parameter"
    ):
        check_tuning(experiment(variants={"v": {"method": "searched"}}))


def test_every_method_declares_ranges_that_fit_it_around_its_defaults():
    for name in METHODS.entries:
        settings = experiment(variants={"v": {"method": name}})
        space = space_of(settings, "v")
        assert list(space)[:2] == ["learning_rate", "weight_decay"]
        for parameter in (key.removeprefix("parameters.") for key in space if key.startswith("parameters.")):
            default = getattr(METHODS.load(name).Parameters(), parameter)
            searched = space[f"parameters.{parameter}"]
            inside = (
                default is None
                or default in (searched.choices or ())
                or (searched.choices is None and searched.low <= default <= searched.high)
            )
            assert inside, (name, parameter)


def test_a_parameter_that_a_variant_sets_is_not_tuned():
    methods = {"ogm-ge": {"alpha": {"low": 0.1, "high": 1}}}
    assert "parameters.alpha" in space_of(experiment({"methods": methods}), "ogm-ge")
    fixed = {"v": {"method": "ogm-ge", "parameters": {"modulated": "weights", "alpha": 0.3}}}
    assert "parameters.alpha" not in space_of(experiment({"methods": methods}, variants=fixed), "v")


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_the_first_trials_never_change_and_variants_try_the_same_rates(sampler):
    few, many = experiment({"sampler": sampler}), experiment({"sampler": sampler, "trials": 40})
    assert trial_values(many, JOINT, 0)[:3] == trial_values(few, JOINT, 0)
    assert trial_values(few, JOINT, 0) == trial_values(few, Cell("tiny", 0, "unimodal"), 0)
    assert trial_values(few, JOINT, 0) != trial_values(few, JOINT, 1)


def test_a_sobol_search_covers_each_range_evenly():
    drawn = np.array(sobol_positions(3, 64, "tiny", 0, 0))
    for axis in drawn.T:
        assert np.bincount((axis * 16).astype(int), minlength=16).tolist() == [4] * 16
    assert sobol_positions(0, 2, "tiny") == [[], []]


def test_blocks_searches_and_cells_that_are_not_there_are_refused(tmp_path):
    for cell, search, block, said in (
        (JOINT, 1, 0, r"has searches 0\.\.0, not 1"),
        (JOINT, 0, 1, r"has blocks 0\.\.0, not 1"),
        (Cell("tiny", 3, "joint"), 0, 0, r"has folds 0\.\.0, not 3"),
        (Cell("tiny", 0, "nobody"), 0, 0, "no variant 'nobody'"),
    ):
        with pytest.raises(TcmaxError, match=said):
            train_trials(experiment(), cell, search, block, tmp_path)
    with pytest.raises(TcmaxError, match="has no `tuning`"):
        train_trials(tiny.experiment(), JOINT, 0, 0, tmp_path)
