"""The compare stage: rows by hand, families, groupings, and designs that cannot speak for a population."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from factories import score_runs
from scored import made_up, write_items
from statsmodels.stats.multitest import multipletests

from tcmax.errors import TcmaxError
from tcmax.evidence.compare import compare, max_t_of, self_comparisons
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.evidence.scores import Compared
from tcmax.records import kinds, parquet
from tcmax.records.files import write_json
from tcmax.stats.crossed import crossed_jackknife, crossed_paired, crossed_unpaired, interval, pseudo_values


def rows_of(results, name="made-up"):
    table = parquet.read(results / name / "evidence.parquet", kinds.EVIDENCE)
    return {row["id"]: row for row in table.to_pylist()}


def coin(rng, p, shape=(3, 60)):
    return (rng.random(shape) < p).astype(float)


@pytest.fixture
def two(tmp_path):
    """a and b on 60 items, three seeds; two modalities."""
    rng = np.random.default_rng(3)
    scores = {
        v: {
            "correct.own": coin(rng, p),
            "correct.left": coin(rng, 0.6),
            "correct.right": coin(rng, 0.4),
            "nll.own": rng.random((3, 60)),
            "js.all": rng.random((3, 60)),
        }
        for v, p in (("a", 0.8), ("b", 0.6))
    }
    write_items(tmp_path / "made-up" / "toy", scores)
    return tmp_path, scores


def longhand(d):
    """estimate, and half-width and one-sided p against 0 for the population both, each item its own group."""
    (S, n), mean = d.shape, d.mean()
    a = ((d.mean(axis=1) - mean) ** 2).sum() / (S * (S - 1))
    b = n / (n - 1) * ((d.mean(axis=0) - mean) ** 2).sum() / n**2
    r = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + mean
    e = S / (S - 1) * n / (n - 1) * (r**2).sum() / (S * n) ** 2
    a0 = max(a, e)
    v = a0 + max(b - e, 0)
    nu = max(v**2 / (a0**2 / (S - 1) + b**2 / (n - 1)), min(S - 1, n - 1))
    tails = [(v, nu), (a, S - 1), (b, n - 1)]
    half = max(scipy.stats.t.ppf(0.975, df) * math.sqrt(x) for x, df in tails)
    p = max(scipy.stats.t.sf(mean / math.sqrt(x), df) for x, df in tails)
    return mean, half, p, (a, b, e)


def test_a_comparison_with_the_reference_variant_by_hand(two):
    results, scores = two
    compare(made_up(reference="b"), results)
    row = rows_of(results)["toy|accuracy|own|a-vs-b|both"]
    d = scores["a"]["correct.own"] - scores["b"]["correct.own"]
    mean, half, p, parts = longhand(d)
    assert (row["estimate"], row["low"], row["high"]) == pytest.approx((mean, mean - half, mean + half))
    assert (row["variance_seeds"], row["variance_items"], row["variance_residual"]) == pytest.approx(parts)
    assert (row["p_greater"], row["p"]) == pytest.approx((p, 2 * p))
    assert (row["kind"], row["a"], row["b"], row["population"], row["pairing"]) == (
        "comparison",
        "a",
        "b",
        "both",
        "paired",
    )
    assert (row["n_seeds"], row["n_items"], row["n_groups"], row["n_diverged"]) == (3, 60, None, 0)
    assert row["effect"] == "net items won per run"
    assert row["effect_size"] == pytest.approx(mean * 60)
    assert row["unit"] == "proportion"


def test_the_sign_flip_check_has_its_floor_and_normality_is_named(two):
    results, scores = two
    compare(made_up(reference="b"), results)
    row = rows_of(results)["toy|accuracy|own|a-vs-b|seeds"]
    sums = (scores["a"]["correct.own"] - scores["b"]["correct.own"]).sum(axis=1)
    flips = [abs(np.dot(signs, sums)) for signs in itertools.product((1, -1), repeat=3)]
    assert row["sign_flip_p"] == pytest.approx(np.mean(np.array(flips) >= abs(sums.sum()) - 1e-9))
    assert row["sign_flip_floor"] == 0.25
    assert "rests on normality of 3 seed effects" in row["notes"]
    items = rows_of(results)["toy|accuracy|own|a-vs-b|items"]
    assert items["sign_flip_p"] is None
    assert "normality" not in items["notes"]


def test_mcnemar_is_summarised_per_run_and_never_pooled(two):
    results, scores = two
    compare(made_up(reference="b"), results)
    p = []
    for s in range(3):
        a, b = scores["a"]["correct.own"][s], scores["b"]["correct.own"][s]
        wins, losses = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
        p.append(scipy.stats.binomtest(wins, wins + losses).pvalue)
    row = rows_of(results)["toy|accuracy|own|a-vs-b|both"]
    expected = f"McNemar of each run: p <= 0.05 in {sum(x <= 0.05 for x in p)} of 3, median p {np.median(p):.2g}"
    assert expected in row["notes"]


def test_an_estimate_by_hand_and_one_row_per_population(two):
    results, scores = two
    compare(made_up(), results)
    rows = rows_of(results)
    found = rows["toy|nll|own|b|both"]
    mean, half, _, _ = longhand(scores["b"]["nll.own"])
    assert (found["estimate"], found["low"], found["high"]) == pytest.approx((mean, mean - half, mean + half))
    assert (found["kind"], found["b"], found["p"]) == ("estimate", None, None)
    both = rows["toy|accuracy|own|a|both"]
    for population in ("seeds", "items"):
        other = rows[f"toy|accuracy|own|a|{population}"]
        assert both["low"] <= other["low"]
        assert both["high"] >= other["high"]
    assert {"toy|accuracy|left|a|both", "toy|js|all|b|seeds", "toy|js_bits|all|b|both"} <= set(rows)
    assert rows["toy|js_bits|all|b|both"]["estimate"] == pytest.approx(scores["b"]["js.all"].mean() / math.log(2))


def test_without_a_reference_variant_there_is_no_comparison_with_it(two):
    results, _ = two
    compare(made_up(), results)
    rows = rows_of(results)
    assert "toy|accuracy|own|a-vs-b|both" not in rows
    assert "toy|accuracy|own|a-vs-b|both|pair" in rows
    assert "toy|entropy_ratio|all|a|both" not in rows


def test_starvation_is_compared_modality_by_modality(two):
    results, scores = two
    compare(made_up(reference="b"), results)
    row = rows_of(results)["toy|accuracy|right|a-vs-b|both"]
    assert row["estimate"] == pytest.approx(scores["a"]["correct.right"].mean() - scores["b"]["correct.right"].mean())
    assert row["readout"] == "right"
    assert "each variant with b, accuracy (right) on toy" in row["family"]


@pytest.fixture
def five(tmp_path):
    rng = np.random.default_rng(8)
    skill = {"ref": 0.7, "a1": 0.75, "a2": 0.95, "c": 0.85, "d": 0.6}
    scores = {v: {"correct.own": coin(rng, p, (4, 120)), "nll.own": rng.random((4, 120))} for v, p in skill.items()}
    write_items(tmp_path / "made-up" / "toy", scores, seeds=range(4))
    experiment = made_up(list(skill), seeds=range(4), families={"a1": "A", "a2": "A"}, reference="ref")
    compare(experiment, tmp_path)
    return rows_of(tmp_path)


def test_holm_runs_within_each_named_family(five):
    pairs = [row for key, row in five.items() if key.startswith("toy|accuracy|own") and key.endswith("both|pair")]
    assert len(pairs) == 10
    assert {row["family"] for row in pairs} == {"all pairs, accuracy (own) on toy; tests: 10"}
    assert {row["correction"] for row in pairs} == {"holm"}
    expected = multipletests([row["p"] for row in pairs], method="holm")[1]
    np.testing.assert_allclose([row["p_adjusted"] for row in pairs], expected)
    reference = [
        row for key, row in five.items() if key.startswith("toy|accuracy|own") and key.endswith("-vs-ref|both")
    ]
    expected = multipletests([row["p"] for row in reference], method="holm")[1]
    assert len(reference) == 4
    np.testing.assert_allclose([row["p_adjusted"] for row in reference], expected)


def test_the_best_rival_is_the_best_other_variant_but_no_sibling(five):
    rival = {row["a"]: row["b"] for key, row in five.items() if key.startswith("toy|accuracy") and "best rival" in key}
    assert rival == {"ref": "a2", "a1": "c", "a2": "c", "c": "a2", "d": "a2"}
    noted = next(row for key, row in five.items() if key.endswith("|best rival"))
    assert "picked by its score on these items" in noted["notes"]


def test_for_a_metric_where_less_is_better_the_best_rival_is_the_lowest(tmp_path):
    rng = np.random.default_rng(0)
    scores = {v: {"nll.own": rng.random((3, 30)) + alpha} for v, alpha in (("a", 0), ("b", 1), ("c", 2))}
    write_items(tmp_path / "made-up" / "toy", scores)
    compare(made_up("abc"), tmp_path)
    rows = rows_of(tmp_path)
    assert "toy|nll|own|c-vs-a|both|best rival" in rows
    assert "toy|nll|own|a-vs-b|both|best rival" in rows


def test_one_seed_leaves_estimates_and_items_but_no_interval_for_seeds(tmp_path):
    rng = np.random.default_rng(1)
    scores = {v: {"correct.own": coin(rng, 0.7, (1, 40))} for v in "ab"}
    write_items(tmp_path / "made-up" / "toy", scores, seeds=(5,))
    compare(made_up(seeds=(5,), reference="a"), tmp_path)
    rows = rows_of(tmp_path)
    for population in ("seeds", "both"):
        row = rows[f"toy|accuracy|own|b-vs-a|{population}"]
        assert [row[key] for key in ("low", "high", "p", "p_adjusted", "variance_seeds", "sign_flip_p")] == [None] * 6
        assert "1 seeds cannot speak for new seeds" in row["notes"]
        assert row["estimate"] is not None
    assert rows["toy|accuracy|own|b-vs-a|items"]["low"] is not None


def test_two_seeds_and_two_groups_are_refused_too(tmp_path):
    rng = np.random.default_rng(1)
    scores = {v: {"correct.own": coin(rng, 0.7, (2, 40))} for v in "ab"}
    write_items(tmp_path / "made-up" / "toy", scores, seeds=(0, 1), groups={"speaker": np.arange(40) % 2})
    compare(made_up(seeds=(0, 1), reference="a"), tmp_path)
    rows = rows_of(tmp_path)
    assert rows["toy|accuracy|own|a|seeds"]["low"] is None
    assert "2 groups of items cannot speak" in rows["toy|accuracy|own|a|items"]["notes"]
    assert rows["toy|accuracy|own|a|items"]["n_groups"] == 2


def test_at_most_two_groupings_enter_and_the_others_are_named(tmp_path):
    rng = np.random.default_rng(1)
    scores = {v: {"correct.own": coin(rng, 0.7, (3, 90))} for v in "ab"}
    groups = {"speaker": np.arange(90) % 15, "writer": np.arange(90) // 10, "session": np.arange(90) % 4}
    write_items(tmp_path / "made-up" / "toy", scores, groups=groups)
    compare(made_up(reference="a"), tmp_path)
    row = rows_of(tmp_path)["toy|accuracy|own|b|both"]
    assert "items grouped by speaker (15), writer (9); left out: session" in row["notes"]
    assert row["n_groups"] == 9


def test_diverged_runs_leave_their_pair_and_are_also_counted_at_chance(tmp_path):
    rng = np.random.default_rng(2)
    a, b = coin(rng, 0.9, (4, 60)), coin(rng, 0.7, (3, 60))
    labels = [0] * 25 + [1] * 35
    write_items(
        tmp_path / "made-up" / "toy",
        {"a": {"correct.own": a}, "b": {"correct.own": b}},
        seeds=range(4),
        labels=labels,
        diverged={"b": [1]},
    )
    compare(made_up(seeds=range(4), reference="b"), tmp_path)
    row = rows_of(tmp_path)["toy|accuracy|own|a-vs-b|both"]
    assert row["estimate"] == pytest.approx(a[[0, 2, 3]].mean() - b.mean())
    assert (row["n_seeds"], row["n_diverged"]) == (3, 1)
    majority = np.array(labels) == 1
    chance = np.stack([b[0], majority, b[1], b[2]])
    mean, half, _, _ = longhand(a - chance)
    ends = f"[{100 * (mean - half):+.2f}, {100 * (mean + half):+.2f}] pp"
    assert f"counted at chance: {100 * mean:+.2f} {ends}" in row["notes"]


def test_a_variant_whose_runs_all_diverged_is_named_without_a_number(tmp_path):
    rng = np.random.default_rng(2)
    scores = {"a": {"correct.own": coin(rng, 0.9)}, "b": {"correct.own": np.empty((0, 60))}}
    write_items(tmp_path / "made-up" / "toy", scores, diverged={"b": [0, 1, 2]})
    compare(made_up(reference="a"), tmp_path)
    row = rows_of(tmp_path)["toy|accuracy|own|b-vs-a|both"]
    assert (row["estimate"], row["p"], row["n_diverged"]) == (None, None, 3)
    assert "every run, or every pair of runs, diverged" in row["notes"]


def test_different_seed_lists_are_taken_as_independent(tmp_path):
    rng = np.random.default_rng(4)
    a, b = coin(rng, 0.8, (3, 50)), coin(rng, 0.6, (4, 50))
    write_items(
        tmp_path / "made-up" / "toy",
        {"a": {"correct.own": a}, "b": {"correct.own": b}},
        seeds={"a": (0, 1, 2), "b": (0, 1, 2, 3)},
    )
    compare(made_up(seeds=range(4), reference="b"), tmp_path)
    row = rows_of(tmp_path)["toy|accuracy|own|a-vs-b|seeds"]
    welch = scipy.stats.ttest_ind(a.mean(axis=1), b.mean(axis=1), equal_var=False)
    assert row["pairing"] == "independent seeds"
    assert row["p"] == pytest.approx(welch.pvalue)
    assert "different seeds" in row["notes"]
    assert row["sign_flip_p"] is None


def test_metrics_of_whole_runs_speak_for_seeds_only(tmp_path):
    rng = np.random.default_rng(4)
    scores = {v: {"correct.own": coin(rng, 0.8)} for v in "ab"}
    runs = {("a", "macro_f1"): [0.5, 0.6, 0.7], ("b", "macro_f1"): [0.4, 0.5, 0.5]}
    write_items(tmp_path / "made-up" / "toy", scores, runs=runs)
    compare(made_up(reference="a"), tmp_path)
    rows = rows_of(tmp_path)
    t = scipy.stats.ttest_1samp([0.5, 0.6, 0.7], 0).confidence_interval(0.95)
    row = rows["toy|macro_f1|own|a|seeds"]
    assert (row["estimate"], row["low"], row["high"]) == pytest.approx((0.6, t.low, t.high))
    assert row["estimator"] == "mean over runs"
    assert rows["toy|macro_f1|own|a|both"]["low"] is None
    assert row["n_items"] == 60


def test_pseudo_values_in_closed_form_are_those_of_deletion(tmp_path):
    rng = np.random.default_rng(5)
    labels = np.r_[np.zeros(20), np.ones(12), np.full(7, 2), [3]].astype(int)
    n = len(labels)
    scores = {
        "correct.own": coin(rng, 0.7, (3, n)),
        "confidence.own": 0.25 + 0.75 * rng.random((3, n)),
        "correct.left": coin(rng, 0.6, (3, n)),
        "correct.right": coin(rng, 0.3, (3, n)),
        "entropy.left": rng.random((3, n)),
        "entropy.right": rng.random((3, n)),
    }
    groups = np.arange(n) % 8
    write_items(tmp_path / "made-up" / "toy", {"a": scores}, labels=labels, groups={"speaker": groups})
    board = Scoreboard(made_up("a", reference="a"), "toy", tmp_path)

    def deletion(metric, s):
        everything = np.arange(n)
        left = np.array([metric(s, np.delete(everything, i)) for i in everything])
        return metric(s, everything) - (n - 1) * (left - left.mean())

    def balanced(s, kept):
        right, truth = scores["correct.own"][s, kept], labels[kept]
        return np.mean([right[truth == c].mean() for c in np.unique(truth)])

    def calibration(s, kept):
        claimed, right = scores["confidence.own"][s, kept], scores["correct.own"][s, kept]
        edges = np.linspace(0, 1, 16)
        total = 0.0
        for low, high in itertools.pairwise(edges):
            inside = (claimed > low) & (claimed <= high)
            total += abs(right[inside].sum() - claimed[inside].sum())
        return total / len(kept)

    def ratio(s, kept):
        return scores["entropy.right"][s, kept].mean() / scores["entropy.left"][s, kept].mean()

    for metric, readout, by_hand in (
        ("balanced_accuracy", "own", balanced),
        ("ece", "own", calibration),
        ("entropy_ratio", "all", ratio),
    ):
        found = board.score(("a",), metric, readout).values
        np.testing.assert_allclose(found, [deletion(by_hand, s) for s in range(3)], atol=1e-10)
    weak_over_strong = board.estimate(board.score(("a",), "entropy_ratio", "all"))
    parts = np.stack([scores["entropy.right"], scores["entropy.left"]], axis=-1)
    library = crossed_jackknife(lambda t: t[..., 0] / t[..., 1], parts, board.items.groups["speaker"])
    assert weak_over_strong.estimate == pytest.approx(library.estimate)
    assert weak_over_strong.b == pytest.approx(library.b)
    assert pseudo_values(lambda t: t[..., 0] / t[..., 1], parts).shape == (3, n)


def test_equal_inputs_give_equal_bytes(two):
    results, _ = two
    experiment = made_up(reference="b")
    compare(experiment, results)
    path = results / "made-up" / "evidence.parquet"
    first = path.read_bytes()
    compare(experiment, results)
    assert path.read_bytes() == first


def test_missing_item_scores_and_missing_variants_are_named(two, tmp_path):
    results, _ = two
    with pytest.raises(TcmaxError, match=r"items\.parquet does not exist"):
        compare(made_up(datasets=("toy", "other")), results)
    with pytest.raises(TcmaxError, match="has no runs of c"):
        compare(made_up("abc"), results)
    with pytest.raises(TcmaxError, match="no scores for the selection rule 'best_val'"):
        Scoreboard(made_up(), "toy", results, "best_val")


@pytest.mark.parametrize("n_folds", [1, 2])
def test_estimates_are_the_means_over_seeds_of_the_scores_of_the_runs(tmp_path, n_folds):
    folder = score_runs(tmp_path, reference_variant="b", n_folds=n_folds, seeds=(0, 1, 2), modalities=("l", "m", "r"))
    compare(made_up(reference="b", n_folds=n_folds), tmp_path)
    means = {}
    for row in parquet.read(folder / "scores.parquet", kinds.SCORES).to_pylist():
        if row["fold"] is None and row["selection"] == "last":
            means.setdefault((row["metric"], row["readout"], row["variant"]), []).append(row["value"])
    rows = rows_of(tmp_path)
    checked = set()
    for (metric, readout, variant), values in means.items():
        row = rows.get(f"toy|{metric}|{readout}|{variant}|seeds")
        if metric == "diverged":
            continue
        assert row is not None, (metric, readout)
        assert row["estimate"] == pytest.approx(np.mean(values), rel=1e-6), (metric, readout)
        checked.add(metric)
    assert {"accuracy", "balanced_accuracy", "macro_f1", "ece", "nll_calibrated", "js_bits", "js_pairwise"} <= checked
    noted = rows["toy|accuracy|own|a|both"]["notes"]
    assert ("2 folds pooled: each fold has its own model, which is confounded with its speaker" in noted) == (
        n_folds > 1
    )
    assert {"entropy_ratio", "entropy_ratio_own", "entropy_ratio_calibrated", "temperature"} <= checked


# --- several corrections of one family


def twelve_seeds(tmp_path, n_items=40, groups=None, n_seeds=12, **options):
    rng = np.random.default_rng(8)
    difficulty = rng.random(n_items)
    levels = {"a": 0.75, "b": 0.6, "c": 0.55}
    scores = {
        v: {
            "correct.own": (difficulty + 0.3 * rng.random((n_seeds, n_items)) < p + 0.15).astype(float),
            "js.all": rng.random((n_seeds, n_items)),
        }
        for v, p in levels.items()
    }
    write_items(tmp_path / "made-up" / "toy", scores, seeds=range(n_seeds), groups=groups, **options)
    compare(made_up("abc", seeds=range(n_seeds), reference="c"), tmp_path)
    return scores, rows_of(tmp_path)


def enumerated_max_t(units, rng, draws=20_000):
    """Single-step and step-down max-|t| p by drawing sign patterns, written out with loops over steps."""
    t = {k: v.sum() / np.sqrt((v**2).sum()) for k, v in units.items()}
    signs = rng.choice([-1.0, 1.0], (draws, len(next(iter(units.values())))))
    flipped = {k: np.abs(signs @ v) / np.sqrt((v**2).sum()) for k, v in units.items()}
    left, largest, found = set(units), 0.0, {}
    for name in sorted(units, key=lambda k: -abs(t[k])):
        p = np.mean(np.max([flipped[k] for k in left], axis=0) >= abs(t[name]) - 1e-9)
        largest = found[name] = max(largest, p)
        left.discard(name)
    return found


@pytest.mark.parametrize("population", ["seeds", "items"])
def test_max_t_stands_beside_holm_over_the_units_of_the_population(tmp_path, population):
    scores, rows = twelve_seeds(tmp_path)
    axis = 1 if population == "seeds" else 0
    units = {
        (a, b): (scores[a]["correct.own"] - scores[b]["correct.own"]).mean(axis=axis)
        for a, b in itertools.combinations("abc", 2)
    }
    expected = enumerated_max_t(units, np.random.default_rng(0))
    for a, b in units:
        row = rows[f"toy|accuracy|own|{a}-vs-{b}|{population}|pair"]
        assert row["p_max_t"] == pytest.approx(expected[a, b], abs=0.015)
        assert row["family"] == "all pairs, accuracy (own) on toy; tests: 3"
        assert row["correction"] == "holm"


def test_max_t_over_groups_flips_their_sums(tmp_path):
    groups = {"speaker": [k % 11 for k in range(44)]}
    scores, rows = twelve_seeds(tmp_path, 44, groups)
    sums = {
        (a, b): np.array([(scores[a]["correct.own"] - scores[b]["correct.own"])[:, k::11].sum() for k in range(11)])
        for a, b in itertools.combinations("abc", 2)
    }
    expected = enumerated_max_t(sums, np.random.default_rng(1))
    for a, b in sums:
        found = rows[f"toy|accuracy|own|{a}-vs-{b}|items|pair"]["p_max_t"]
        assert found == pytest.approx(expected[a, b], abs=0.015)


@pytest.mark.parametrize(
    "without",
    [
        {"n_seeds": 9},
        {"diverged": {"a": [3], "b": [4], "c": [5]}},
        {"groups": {"speaker": [k % 9 for k in range(40)]}},
        {"groups": {"speaker": [k % 10 for k in range(40)], "sentence": [k // 4 for k in range(40)]}},
    ],
    ids=["nine seeds", "other pairs for each", "nine groups", "two groupings"],
)
def test_without_ten_units_in_common_there_is_no_max_t(tmp_path, without):
    if "diverged" in without:
        rng = np.random.default_rng(0)
        content = {v: {"correct.own": coin(rng, 0.5, (11, 40))} for v in "abc"}
        write_items(tmp_path / "made-up" / "toy", content, seeds=range(12), **without)
        compare(made_up("abc", seeds=range(12), reference="c"), tmp_path)
        rows = rows_of(tmp_path)
    else:
        _, rows = twelve_seeds(tmp_path, **without)
    population = "items" if "groups" in without else "seeds"
    pairs = [row for key, row in rows.items() if key.endswith(f"|{population}|pair")]
    assert pairs
    assert all(row["p_adjusted"] is not None and row["p_max_t"] is None for row in pairs)
    assert all(row["p_max_t"] is None for key, row in rows.items() if "|both" in key)


def test_items_are_resampled_for_accuracy_only_and_q_is_for_all_pairs_only(tmp_path):
    _, rows = twelve_seeds(tmp_path)
    pairs = [rows[f"toy|js|all|{a}-vs-{b}|items|pair"] for a, b in itertools.combinations("abc", 2)]
    assert all(row["p_max_t"] is None for row in pairs)
    q = multipletests([row["p"] for row in pairs], method="fdr_bh")[1]
    assert [row["q_value"] for row in pairs] == pytest.approx(list(q))
    assert all(row["q_value"] is None for key, row in rows.items() if not key.endswith("|pair"))


def test_the_family_wise_error_of_max_t_over_seeds_is_kept(tmp_path):
    rng, errors, repetitions = np.random.default_rng(2), 0, 300
    board = Scoreboard.__new__(Scoreboard)
    board.groups = {}
    for k in range(repetitions):
        shared = rng.normal(size=(10, 1))  # the reference's runs, in every comparison
        found = {}
        for v in range(6):
            a = rng.normal(size=(10, 1))
            found[str(v)] = Compared(crossed_paired(a, shared), "paired", a, shared, 0, ())
        family = max_t_of(board, found, "seeds", f"family {k}")
        errors += min(family.adjusted) <= 0.05
    assert errors / repetitions < 0.05 + 3 * math.sqrt(0.05 * 0.95 / repetitions)


# --- a method against itself


def test_halves_of_a_variant_are_compared_with_each_other(tmp_path):
    scores, _ = twelve_seeds(tmp_path, n_items=60, n_seeds=6)
    x = scores["a"]["correct.own"]
    apart = 0
    for chosen in itertools.combinations(range(1, 6), 2):  # row 0 and two others: the ten halvings of six seeds
        first = np.isin(np.arange(6), (0, *chosen))
        found = interval(crossed_unpaired(x[first], x[~first]), "both")
        apart += found.low > 0 or found.high < 0
    header = parquet.header(tmp_path / "made-up" / "evidence.parquet")
    assert header["self_comparisons"]["toy"]["a"] == {"halvings": 10, "told_apart": apart, "alpha": 0.05}
    assert set(header["self_comparisons"]["toy"]) == {"a", "b", "c"}


def test_fewer_than_six_seeds_have_no_control(tmp_path):
    twelve_seeds(tmp_path, n_seeds=5)
    assert parquet.header(tmp_path / "made-up" / "evidence.parquet")["self_comparisons"] == {"toy": {}}


def test_a_method_is_rarely_told_apart_from_itself(tmp_path):
    rng = np.random.default_rng(12)
    difficulty = rng.normal(size=150)
    variants = [f"v{k}" for k in range(30)]
    content = {}
    for v in variants:
        level = 0.5 + 0.1 * rng.normal() + 0.3 * rng.normal(size=(8, 1))
        content[v] = {"correct.own": (level + difficulty + rng.normal(size=(8, 150)) > 0).astype(float)}
    write_items(tmp_path / "made-up" / "toy", content, seeds=range(8))
    found = self_comparisons(Scoreboard(made_up(variants, seeds=range(8)), "toy", tmp_path))
    assert sum(one.halvings for one in found.values()) == 30 * 20
    assert sum(one.told_apart for one in found.values()) <= 0.05 * 30 * 20


def test_a_variant_with_a_training_set_of_its_own_says_so_in_every_comparison(tmp_path):
    rng = np.random.default_rng(2)
    content = {name: {"nll.own": rng.normal(size=(3, 20))} for name in "abc"}
    write_items(tmp_path / "made-up" / "toy", content, validation={(v, s): 0.5 for v in "abc" for s in range(3)})
    plain = made_up("abc")
    raw = plain.settings.model_dump()
    raw["variants"]["a"]["fidelity"] = "release"
    raw["variants"]["b"] |= {"fidelity": "release", "switches": {"protocol.file_order_split": False}}
    mixed = replace(plain, settings=type(plain.settings).model_validate(raw))
    said = "a validates on the last 20 % of the train list: its training set is not that of the other variants"

    def notes(experiment):
        board = Scoreboard(experiment, "toy", tmp_path)
        scores = {v: board.score((v,), "nll", "own") for v in "abc"}
        best = board.score(("a", "c"), "nll", "own")
        return [[*map(str, board.difference(x, scores["b"]).notes)] for x in (scores["a"], scores["c"], best)]

    assert not any("train list" in note for of_pair in notes(plain) for note in of_pair)
    first, second, best = notes(mixed)
    assert (said in first, said in second, said in best) == (True, False, True)
    write_json(tmp_path / "made-up" / "toy" / "data.json", {"official_validation": True})
    assert all(said not in of_pair for of_pair in notes(mixed))
    for label in "bc":
        raw["variants"][label] |= {"fidelity": "release", "switches": {}}
    (tmp_path / "made-up" / "toy" / "data.json").unlink()
    alike = replace(plain, settings=type(plain.settings).model_validate(raw))
    assert all(said not in of_pair for of_pair in notes(alike))


def test_an_unstable_variant_is_named_in_every_comparison_with_it(tmp_path):
    rng = np.random.default_rng(0)
    calm = {label: (rng.random((6, 200)) < 0.8).astype(float) for label in "abc"}
    wild = (rng.random((6, 200)) < np.array([0.95, 0.4, 0.9, 0.5, 0.8, 0.3])[:, None]).astype(float)
    scores = {label: {"correct.own": values} for label, values in {**calm, "w": wild}.items()}
    experiment = made_up(variants=("a", "b", "c", "w"), seeds=range(6))
    write_items(tmp_path / "made-up" / "toy", scores, seeds=range(6))
    board = Scoreboard(experiment, "toy", tmp_path)
    assert set(board.restless) == {"w"}
    scored = {label: board.score((label,), "accuracy", "own") for label in "abw"}
    sentence = "w trained unstably at these settings: its seeds spread"
    assert any(sentence in str(note) for note in board.difference(scored["a"], scored["w"]).notes)
    assert not any("unstably" in str(note) for note in board.difference(scored["a"], scored["b"]).notes)
