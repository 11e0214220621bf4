"""Leaving out one seed, group or dataset: what turns a verdict, found by brute force too."""

import numpy as np
from scored import made_up, one_claim, write_items

from tcmax.audit import wording
from tcmax.audit.claims import audit_claims
from tcmax.audit.influence import influence_of
from tcmax.audit.judging import RememberingBoard, readings_of, word_of
from tcmax.audit.schema import datasets_of, load_claims
from tcmax.records import kinds, parquet
from tcmax.stats.crossed import crossed_paired, verdict_of

SEEDS, ITEMS, GROUPS = 5, 60, 6
SPEAKERS = np.array([f"s{i % GROUPS}" for i in range(ITEMS)])
RNG = np.random.default_rng(5)


def scores(level, noise=0.05):
    base = np.random.default_rng(1).normal(size=ITEMS)
    return base + level + noise * RNG.normal(size=(SEEDS, ITEMS)) + noise * RNG.normal(size=(SEEDS, 1))


def influence_on(experiment, results, path):
    """The verdict on the only claim of a file, and its influence."""
    (claim,) = load_claims(path, experiment).claims
    on = {name: RememberingBoard(experiment, name, results) for name in datasets_of(claim, experiment)}
    whole = word_of(readings_of(claim, experiment, on, (claim.population,)), claim.population)
    return whole, influence_of(claim, experiment, on, whole)


def found(tmp_path, by_dataset, groups=None, **claim):
    for dataset, of_variant in by_dataset.items():
        content = {label: {"nll.own": matrix} for label, matrix in of_variant.items()}
        write_items(
            tmp_path / "made-up" / dataset,
            content,
            seeds=range(SEEDS),
            groups={"speaker": SPEAKERS} if groups else None,
        )
    path = one_claim(tmp_path, **claim)
    experiment = made_up("ab", tuple(by_dataset), seeds=range(SEEDS))
    return influence_on(experiment, tmp_path, path)


def said(influence):
    """What left, and the verdict that it left behind."""
    return [(wording.left(flip), flip["verdict"]) for flip in influence.columns["flips"]]


def test_a_clear_verdict_hangs_on_nothing(tmp_path):
    verdict, influence = found(tmp_path, {"toy": {"a": scores(1.0), "b": scores(0.0)}}, groups=True)
    assert (verdict, influence.flips) == ("supported", ())
    assert influence.tried == {"seed": SEEDS, "group": GROUPS, "dataset": 0}
    assert wording.influence(influence.columns) == "stays whichever of 5 seeds or 6 groups leaves"


def test_the_seed_that_blocks_is_named(tmp_path):
    a, b = scores(0.3), scores(0.0)
    a[3] -= 1.2  # one run failed
    verdict, influence = found(tmp_path, {"toy": {"a": a, "b": b}}, population="seeds")
    assert verdict == "undetermined"
    assert [(left.kind, left.name, word) for left, word in influence.flips] == [("seed", "3", "supported")]
    assert wording.influence(influence.columns) == "flips when seed 3 leaves (supported); left out in turn: 5 seeds"


def test_seeds_and_groups_are_those_that_brute_force_finds(tmp_path):
    a, b = scores(0.12, 0.03), scores(0.0, 0.03)
    a[:, SPEAKERS == "s2"] -= 0.35
    verdict, influence = found(tmp_path, {"toy": {"a": a, "b": b}}, groups=True)
    expected = {}
    for seed in range(SEEDS):
        rows = np.arange(SEEDS) != seed
        expected[f"seed {seed}"] = verdict_of(crossed_paired(a[rows], b[rows], SPEAKERS), 0.0, "both")
    for name in np.unique(SPEAKERS):
        kept = ~np.isin(SPEAKERS, name)
        expected[f"speaker {name}"] = verdict_of(crossed_paired(a[:, kept], b[:, kept], SPEAKERS[kept]), 0.0, "both")
    whole = verdict_of(crossed_paired(a, b, SPEAKERS), 0.0, "both")
    assert verdict == whole
    flips = dict(said(influence))
    assert flips == {name: word for name, word in expected.items() if word != whole}
    assert "speaker s2" in flips


def test_the_dataset_that_blocks_is_named(tmp_path):
    by_dataset = {"one": {"a": scores(1.0), "b": scores(0.0)}, "two": {"a": scores(0.0), "b": scores(0.0)}}
    verdict, influence = found(tmp_path, by_dataset)
    assert verdict == "undetermined"
    assert ("dataset two", "supported") in said(influence)


def test_an_average_needs_no_special_case_and_datasets_in_general_keep_three(tmp_path):
    by_dataset = {name: {"a": scores(1.0), "b": scores(0.0)} for name in ("one", "two", "three")}
    _, general = found(tmp_path, by_dataset, quantifier="datasets in general")
    assert general.tried["dataset"] == 0
    _, average = found(tmp_path, by_dataset, quantifier="average over the named datasets")
    assert average.tried == {"seed": SEEDS, "group": 0, "dataset": 3}
    assert average.flips == ()


def test_the_better_of_two_is_chosen_again_without_the_seed(tmp_path):
    matrices = {"a": scores(1.0), "b": scores(0.0), "c": scores(0.9)}
    validation = {(label, seed): 0.5 for label in "ac" for seed in range(SEEDS)}
    write_items(
        tmp_path / "made-up" / "toy",
        {label: {"nll.own": matrix} for label, matrix in matrices.items()},
        seeds=range(SEEDS),
        validation=validation,
    )
    path = one_claim(tmp_path, subject=["a", "c"])
    verdict, influence = influence_on(made_up("abc", seeds=range(SEEDS)), tmp_path, path)
    assert influence.tried["seed"] == SEEDS
    assert verdict == "supported"


def written(tmp_path, content, seeds):
    write_items(tmp_path / "made-up" / "toy", content, seeds=seeds)
    return influence_on(made_up("ab", seeds=range(5)), tmp_path, one_claim(tmp_path, population="seeds"))


def test_three_seeds_are_the_fewest_and_none_of_them_leaves(tmp_path):
    content = {label: {"nll.own": scores(alpha)[:3]} for label, alpha in (("a", 1.0), ("b", 0.0))}
    verdict, influence = written(tmp_path, content, range(3))
    assert verdict == "supported"
    assert wording.influence(influence.columns) == "too few seeds, groups and datasets to leave one out"


def test_without_the_seed_that_one_side_alone_ran_the_rest_is_paired(tmp_path):
    shared = 3.0 * np.arange(SEEDS)[:, np.newaxis]
    content = {"a": {"nll.own": scores(0.5) + shared}, "b": {"nll.own": (scores(0.0) + shared)[:4]}}
    verdict, influence = written(tmp_path, content, {"a": range(5), "b": range(4)})
    assert verdict == "undetermined"
    assert ("seed 4", "supported") in said(influence)


def test_a_claim_that_is_not_testable_hangs_on_nothing(tmp_path):
    verdict, influence = written(tmp_path, {label: {"nll.own": scores(0.0)[:2]} for label in "ab"}, range(2))
    assert (verdict, influence) == ("not testable", None)


def test_a_diverged_run_that_leaves_no_longer_divides_the_two_readings(tmp_path):
    a, b = np.ones((SEEDS, ITEMS)), np.zeros((SEEDS, ITEMS))
    rng = np.random.default_rng(2)
    a[rng.random(a.shape) < 0.2], b[rng.random(b.shape) < 0.4] = 0.0, 1.0
    content = {"a": {"correct.own": a[:4]}, "b": {"correct.own": b}}
    folder = tmp_path / "made-up" / "toy"
    write_items(folder, content, seeds=range(SEEDS), labels=[i % 6 for i in range(ITEMS)], diverged={"a": [4]})
    path = one_claim(tmp_path, metric="accuracy")
    experiment = made_up("ab", seeds=range(SEEDS))
    verdict, influence = influence_on(experiment, tmp_path, path)
    assert verdict == "undetermined"  # removed: supported; at chance: open
    assert said(influence) == [("seed 4", "supported")]
    lines, _ = audit_claims(experiment, tmp_path, path, influence=True)
    (row,) = parquet.read(tmp_path / "made-up" / "verdicts.parquet", kinds.VERDICTS).to_pylist()
    assert wording.influence(row) == wording.influence(influence.columns)
    assert lines[-1] == f"c: undetermined, {wording.influence(row)}"
