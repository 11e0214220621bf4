"""Judging claims: from item scores to verdicts that a reader can repeat by hand."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import yaml
from scored import made_up, one_claim, write_items

from tcmax.audit import wording
from tcmax.audit.claims import audit_claims
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Experiment
from tcmax.experiment.settings import TuningSettings
from tcmax.records import kinds, parquet
from tcmax.records.files import sha256, write_json

BASE = {
    "text": "A sentence.",
    "source": {"document": "Paper", "section": "1"},
    "origin": "published",
    "subject": "a",
    "rivals": "b",
    "metric": "accuracy",
    "relation": "greater",
}


class Judge:
    """Item scores of some datasets, and verdicts on claims about them."""

    def __init__(self, folder, experiment):
        self.folder, self.experiment = folder, experiment

    def __call__(self, *claims, fail_on=None):
        path = self.folder / "claims.yaml"
        written = [
            {
                k: float(v) if isinstance(v, np.floating) else v
                for k, v in {**BASE, "id": f"claim-{n}", **claim}.items()
                if v is not None
            }
            for n, claim in enumerate(claims)
        ]
        path.write_text(yaml.safe_dump({"claims": written}))
        self.lines, self.failed = audit_claims(self.experiment, self.folder, path, fail_on)
        here = self.folder / "made-up"
        rows = parquet.read(here / "claim_evidence.parquet", kinds.EVIDENCE).to_pylist()
        self.evidence = {row["id"]: row for row in rows}
        self.verdicts = [self.said(row) for row in parquet.read(here / "verdicts.parquet", kinds.VERDICTS).to_pylist()]
        return self.verdicts[0]

    def said(self, row):
        """A verdict with its sentences."""
        deciding = self.evidence.get(row["deciding"])
        words = {"component": wording.component(row, deciding)} if deciding else {}
        words |= {"reason": wording.reason(row, deciding), "line": wording.line(row, deciding)}
        return {**row, **words, "needed": wording.needed(row)}


def judge_of(tmp_path, scores, datasets=("toy",), families=None, seeds=(0, 1, 2, 3, 4), **options):
    """A judge over datasets that all have the scores `scores(rng)` gives, or scores[dataset]."""
    variants = list(scores[datasets[0]])
    for dataset in datasets:
        write_items(tmp_path / "made-up" / dataset, scores[dataset], seeds=seeds, **options)
    return Judge(tmp_path, made_up(variants, datasets, seeds, families, reference=variants[-1]))


def accurate(rng, level, seeds=5, n=200, sd_seed=0.0, blur=0.02):
    """(seeds, n) correctness with a shared item difficulty, at about this accuracy. blur: of single answers; with
    little of it few items differ between methods, and those are smoothed."""
    difficulty = np.linspace(0, 1, n)
    p = np.clip(level + sd_seed * rng.normal(size=(seeds, 1)), 0, 1)
    return (difficulty + blur * rng.normal(size=(seeds, n)) < p).astype(float)


def plain(rng, levels, **options):
    return {v: {"correct.own": accurate(rng, level, **options)} for v, level in levels.items()}


def both(d, alpha=0.05):
    """Longhand: estimate, low, high and one-sided p against 0 for new seeds and new items."""
    (S, n), mean = d.shape, d.mean()
    a = ((d.mean(axis=1) - mean) ** 2).sum() / (S * (S - 1))
    b = ((d.mean(axis=0) - mean) ** 2).sum() / (n * (n - 1))
    r = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + mean
    e = S / (S - 1) * n / (n - 1) * (r**2).sum() / (S * n) ** 2
    a0 = max(a, e)
    v = a0 + max(b - e, 0)
    nu = max(v**2 / (a0**2 / (S - 1) + b**2 / (n - 1)), min(S - 1, n - 1))
    tails = [(v, nu), (a, S - 1), (b, n - 1)]
    half = max(scipy.stats.t.ppf(1 - alpha / 2, df) * math.sqrt(x) for x, df in tails)
    return mean, mean - half, mean + half


def test_greater_by_hand_with_both_populations_side_by_side(tmp_path):
    rng = np.random.default_rng(0)
    scores = {"toy": plain(rng, {"a": 0.8, "b": 0.7})}
    judge = judge_of(tmp_path, scores)
    d = scores["toy"]["a"]["correct.own"] - scores["toy"]["b"]["correct.own"]
    mean, low, high = both(d)
    verdict = judge({})
    assert (verdict["verdict"], verdict["verdict_seeds"]) == ("supported", "supported")
    assert (verdict["estimate"], verdict["low"], verdict["high"]) == pytest.approx((mean, low, high))
    assert (verdict["n_seeds"], verdict["n_items"], verdict["n_groups"]) == (5, 200, None)
    assert judge({"margin": low - 1e-6})["verdict"] == "supported"
    assert judge({"margin": low + 1e-6})["verdict"] == "undetermined"
    assert judge({"margin": high - 1e-6})["verdict"] == "undetermined"
    assert judge({"margin": high + 1e-6})["verdict"] == "contradicted"
    assert judge({"subject": "b", "rivals": "a"})["verdict"] == "contradicted"


def test_less_swaps_the_sides_so_that_the_claim_reads_above_the_margin(tmp_path):
    rng = np.random.default_rng(0)
    judge = judge_of(tmp_path, {"toy": plain(rng, {"a": 0.8, "b": 0.7})})
    greater, less = judge({}), judge({"subject": "b", "rivals": "a", "relation": "less"})
    assert less["verdict"] == "supported"
    assert (less["estimate"], less["low"], less["high"]) == (greater["estimate"], greater["low"], greater["high"])
    assert less["component"] == "a minus b on toy"
    margin = {"margin": -0.05, "margin_reason": "fixed beforehand"}
    assert judge({"relation": "less", **margin})["verdict"] == "contradicted"


def test_non_inferiority_is_a_negative_margin(tmp_path):
    rng = np.random.default_rng(1)
    judge = judge_of(tmp_path, {"toy": plain(rng, {"a": 0.7, "b": 0.7}, n=1000)})
    assert judge({})["verdict"] == "undetermined"
    assert judge({"margin": -0.02, "margin_reason": "two points"})["verdict"] == "supported"


def test_a_verdict_for_seeds_alone_may_differ_and_is_said(tmp_path):
    # A wins on 12 of 100 items and loses on 6 in every seed, but for one item per seed that differs
    base = np.zeros((5, 100))
    a, b = base.copy(), base.copy()
    a[:, :12] = 1
    b[:, 12:18] = 1
    a[np.arange(4), 30 + np.arange(4)] = 1
    judge = judge_of(tmp_path, {"toy": {"a": {"correct.own": a}, "b": {"correct.own": b}}})
    verdict = judge({})
    assert (verdict["verdict"], verdict["verdict_seeds"]) == ("undetermined", "supported")
    assert "for new seeds on this test set: supported" in verdict["reason"]
    assert "(new seeds on this test set: supported)" in verdict["line"]
    about_seeds = judge({"population": "seeds"})
    assert (about_seeds["verdict"], about_seeds["verdict_seeds"]) == ("supported", "supported")
    assert "new seeds and new items: undetermined" in about_seeds["line"]
    assert judge({"population": "items"})["verdict"] == "undetermined"
    assert "no number of seeds" in verdict["needed"]


def test_no_claim_is_decided_for_both_populations_and_open_for_seeds(tmp_path):
    rng = np.random.default_rng(6)
    for round_ in range(12):
        folder = tmp_path / str(round_)
        levels = {"a": 0.72 + 0.02 * rng.normal(), "b": 0.7, "c": 0.7}
        judge = judge_of(folder, {"toy": plain(rng, levels, n=60, sd_seed=0.02)})
        judge({}, {"relation": "largest of", "rivals": None}, {"relation": "smallest of", "rivals": None})
        for verdict in judge.verdicts:
            assert verdict["verdict"] == "undetermined" or verdict["verdict"] == verdict["verdict_seeds"]


def test_equal_needs_the_interval_inside_the_margin(tmp_path):
    rng = np.random.default_rng(3)
    scores = {"toy": plain(rng, {"a": 0.705, "b": 0.7}, n=1000)}
    judge = judge_of(tmp_path, scores)
    _, low, high = both(scores["toy"]["a"]["correct.own"] - scores["toy"]["b"]["correct.own"])
    reach = max(-low, high)
    equal = {"relation": "equal", "margin_reason": "fixed beforehand"}
    assert judge({**equal, "margin": reach + 1e-5})["verdict"] == "supported"
    row = judge.evidence["claim-0|toy|a-vs-b|both"]
    assert row["p"] == pytest.approx(max(row["p_greater"], row["p_less"]))
    assert row["p"] < 0.025
    assert judge({**equal, "margin": reach - 1e-5})["verdict"] == "undetermined"


def test_each_dataset_is_supported_only_if_all_are_and_names_what_blocks(tmp_path):
    rng = np.random.default_rng(4)
    scores = {"one": plain(rng, {"a": 0.8, "b": 0.7}), "two": plain(rng, {"a": 0.7, "b": 0.7})}
    judge = judge_of(tmp_path, scores, ("one", "two"))
    verdict = judge({})
    assert (verdict["verdict"], verdict["component"]) == ("undetermined", "a minus b on two")
    assert judge({"datasets": ["one"]})["verdict"] == "supported"
    assert judge({"quantifier": "some dataset"})["verdict"] == "supported"
    assert judge.verdicts[0]["component"] == "a minus b on one"
    assert judge({"subject": "b", "rivals": "a"})["verdict"] == "contradicted"
    assert judge.verdicts[0]["component"] == "b minus a on one"
    assert judge({"subject": "b", "rivals": "a", "quantifier": "some dataset"})["verdict"] != "contradicted"


def test_holm_over_the_parts_stands_in_the_evidence(tmp_path):
    rng = np.random.default_rng(4)
    scores = {d: plain(rng, {"a": 0.71, "b": 0.7, "c": 0.72}, n=100) for d in ("one", "two")}
    judge = judge_of(tmp_path, scores, ("one", "two"))
    judge({"relation": "largest of", "rivals": None})
    rows = [row for key, row in judge.evidence.items() if key.endswith("|both")]
    assert len(rows) == 4
    p = np.array([row["p_less"] for row in rows])
    order = np.argsort(p)
    holm = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(4, 0, -1)))
    np.testing.assert_allclose([rows[k]["p_adjusted"] for k in order], holm)
    assert {row["family"] for row in rows} == {"p of the contrary, 4 components of claim claim-0"}
    judge({"quantifier": "some dataset"})
    rows = [row for key, row in judge.evidence.items() if key.endswith("|both")]
    assert min(row["p_adjusted"] for row in rows) == pytest.approx(min(1, 2 * min(row["p_greater"] for row in rows)))


def test_a_free_search_over_pairs_pays_for_every_pair(tmp_path):
    rng = np.random.default_rng(3)
    scores = {d: plain(rng, {"a": 0.74, "b": 0.7, "c": 0.7}, n=200, blur=0.1) for d in ("one", "two")}
    judge = judge_of(tmp_path, scores, ("one", "two"))
    search = {"quantifier": "some pair", "subject": None, "rivals": None, "variants": "all"}
    verdict = judge(search)
    rows = [row for key, row in judge.evidence.items() if key.endswith("|both")]
    assert len(rows) == 12
    assert {row["family"] for row in rows} == {"p of the statement, 12 components of claim claim-0"}
    least = min(rows, key=lambda row: row["p_greater"])
    won, lost = (scores[least["dataset"]][least[side]]["correct.own"] for side in "ab")
    # the alpha at which the two-sided interval just reaches 0 is twice the one-sided p
    p = scipy.optimize.brentq(lambda alpha: both(won - lost, alpha)[1], 1e-9, 0.9) / 2
    assert least["p_adjusted"] == pytest.approx(min(1, 12 * p))
    assert p < 0.025 <= 12 * p
    assert verdict["verdict"] == "undetermined"
    assert "no component holds after Holm's correction" in verdict["reason"]
    named = judge({"subject": "a", "rivals": "all others", "quantifier": "some pair", "datasets": ["two"]})
    assert named["component"].startswith("a minus ")
    found = judge({**search, "variants": ["a", "b"], "margin": -0.015, "margin_reason": "made up"})
    assert found["verdict"] == "supported"  # b minus a does not hold, and need not
    assert found["component"].startswith("a minus b on")
    against = judge({**search, "variants": ["a", "b"], "margin": 0.5})
    assert against["verdict"] == "contradicted"
    assert against["reason"].startswith("no component holds, the nearest is")


def test_the_largest_excludes_siblings_and_meets_every_rival(tmp_path):
    rng = np.random.default_rng(5)
    levels = {"a": 0.8, "twin": 0.9, "b": 0.7, "c": 0.6}
    families = {"a": "A", "twin": "A"}
    judge = judge_of(tmp_path, {"toy": plain(rng, levels)}, families=families)
    assert judge({"relation": "largest of", "rivals": None})["verdict"] == "supported"
    assert {row["b"] for row in judge.evidence.values()} == {"b", "c"}
    assert judge({"relation": "largest of", "subject": "b", "rivals": None})["verdict"] == "contradicted"
    assert judge({"relation": "smallest of", "subject": "c", "rivals": None})["verdict"] == "supported"


def test_monotone_is_decided_by_adjacent_steps(tmp_path):
    rng = np.random.default_rng(6)
    judge = judge_of(tmp_path, {"toy": plain(rng, {"a": 0.5, "b": 0.6, "c": 0.7})})
    steps = {"relation": "monotone", "subject": None, "rivals": None}
    assert judge({**steps, "variants": ["a", "b", "c"]})["verdict"] == "supported"
    assert judge({**steps, "variants": ["a", "c", "b"]})["verdict"] == "contradicted"
    assert judge.verdicts[0]["component"] == "b minus c on toy"


def test_an_average_over_the_named_datasets_by_hand(tmp_path):
    rng = np.random.default_rng(7)
    datasets = ("one", "two", "three")
    scores = {d: plain(rng, {"a": 0.73, "b": 0.7}, n=200 + 40 * k, blur=0.1) for k, d in enumerate(datasets)}
    judge = judge_of(tmp_path, scores, datasets)
    verdict = judge({"quantifier": "average over the named datasets"})
    v, nu, means = [], [], []
    for d in datasets:
        diff = scores[d]["a"]["correct.own"] - scores[d]["b"]["correct.own"]
        (S, n), mean = diff.shape, diff.mean()
        a = ((diff.mean(axis=1) - mean) ** 2).sum() / (S * (S - 1))
        b = ((diff.mean(axis=0) - mean) ** 2).sum() / (n * (n - 1))
        r = diff - diff.mean(axis=1, keepdims=True) - diff.mean(axis=0) + mean
        e = S / (S - 1) * n / (n - 1) * (r**2).sum() / (S * n) ** 2
        a0 = max(a, e)
        v.append(a0 + max(b - e, 0))
        nu.append(max(v[-1] ** 2 / (a0**2 / (S - 1) + b**2 / (n - 1)), min(S - 1, n - 1)))
        means.append(mean)
    df = sum(v) ** 2 / sum(x**2 / f for x, f in zip(v, nu, strict=True))
    half = scipy.stats.t.ppf(0.975, df) * math.sqrt(sum(v)) / 3
    assert verdict["estimate"] == pytest.approx(np.mean(means))
    assert verdict["high"] - verdict["estimate"] == pytest.approx(half)
    assert verdict["verdict"] == ("supported" if np.mean(means) > half else "undetermined")
    assert (verdict["n_seeds"], verdict["n_items"]) == (5, 200 + 240 + 280)
    row = judge.evidence["claim-0|average|a-vs-b|both"]
    assert row["dataset"] is None


def test_the_same_items_twice_say_no_more_than_once(tmp_path):
    scores = plain(np.random.default_rng(7), {"a": 0.73, "b": 0.7})
    judge = judge_of(tmp_path, {"one": scores, "two": scores}, ("one", "two"))
    average = judge({"quantifier": "average over the named datasets"})
    alone = judge({"datasets": ["one"]})
    for key in ("estimate", "low", "high", "n_items", "verdict_seeds"):
        assert average[key] == pytest.approx(alone[key]), key


def test_values_of_whole_runs_have_no_items_in_common(tmp_path):
    scores = plain(np.random.default_rng(7), {"a": 0.73, "b": 0.7})
    d = np.array([0.01, 0.03, 0.02, 0.05, 0.04])
    judge = judge_of(tmp_path, {"one": scores, "two": scores}, ("one", "two"))
    for dataset, gains in (("one", d), ("two", 0.08 - d)):  # seed by seed the two gains add up to a constant
        runs = {("a", "macro_f1"): 0.5 + gains, ("b", "macro_f1"): [0.5] * 5}
        write_items(tmp_path / "made-up" / dataset, scores, seeds=(0, 1, 2, 3, 4), runs=runs)
    verdict = judge({"metric": "macro_f1", "population": "seeds", "quantifier": "average over the named datasets"})
    half = scipy.stats.t.ppf(0.975, 8) * math.sqrt(2 * d.var(ddof=1) / 5) / 2  # Satterthwaite: 4 and 4 of freedom
    assert (verdict["estimate"], verdict["high"] - verdict["estimate"]) == pytest.approx((0.04, half))
    assert verdict["n_items"] == 2 * 200
    assert "same items" not in judge.evidence["claim-0|average|a-vs-b|seeds"]["notes"]


def test_other_items_with_equal_scores_are_new_evidence(tmp_path):
    scores = plain(np.random.default_rng(7), {"a": 0.73, "b": 0.7})
    judge = judge_of(tmp_path, {"one": scores, "two": scores}, ("one", "two"))
    others = [f"other-{k:04d}" for k in range(200)]
    write_items(tmp_path / "made-up" / "two", scores, seeds=(0, 1, 2, 3, 4), items=others)
    average = judge({"quantifier": "average over the named datasets"})
    alone = judge({"datasets": ["one"]})
    assert average["n_items"] == 2 * alone["n_items"]
    assert average["high"] - average["low"] < 0.8 * (alone["high"] - alone["low"])


def test_datasets_in_general_are_a_sample_of_datasets(tmp_path):
    rng = np.random.default_rng(8)
    datasets = ("one", "two", "three", "four")
    scores = {d: plain(rng, {"a": 0.69 + 0.02 * k, "b": 0.7}, blur=0.1) for k, d in enumerate(datasets)}
    judge = judge_of(tmp_path, scores, datasets)
    verdict = judge({"quantifier": "datasets in general"})
    values = [(scores[d]["a"]["correct.own"] - scores[d]["b"]["correct.own"]).mean() for d in datasets]
    t = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (verdict["low"], verdict["high"]) == pytest.approx((t.low, t.high))
    assert verdict["verdict"] == ("supported" if t.low > 0 else "undetermined")
    p = scipy.stats.wilcoxon(values, mode="exact").pvalue
    assert (
        f"Wilcoxon's signed ranks over 4 datasets p {p:.3g}; sign-flip floor over 4 datasets 0.125" in verdict["reason"]
    )
    notes = judge.evidence["claim-0|in general|a-vs-b|both"]["notes"]
    assert "sign-flip floor over 4 datasets 0.125; all datasets hold the same items: they are no sample" in notes
    p = scipy.stats.wilcoxon(np.array(values) - 0.06, mode="exact").pvalue
    beyond = judge({"quantifier": "datasets in general", "margin": 0.06})
    assert f"Wilcoxon's signed ranks over 4 datasets p {p:.3g}" in beyond["reason"]
    short = judge({"quantifier": "datasets in general", "datasets": ["one", "two"]})
    assert short["verdict"] == "not testable"
    assert "2 datasets cannot speak for datasets in general" in short["reason"]


def test_an_association_over_variants_has_the_claimed_sign(tmp_path):
    rng = np.random.default_rng(9)
    levels = {"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.8}
    scores = plain(rng, levels, seeds=12)
    for v, level in levels.items():
        scores[v]["js.all"] = rng.normal(1 - level, 0.01, (12, 200))
    judge = judge_of(tmp_path, {"toy": scores}, seeds=range(12))
    claim = {
        "metric": "js",
        "relation": "association",
        "associated_with": {"metric": "accuracy"},
        "subject": None,
        "rivals": None,
    }
    negative = judge({**claim, "direction": "negative"})
    assert (negative["verdict"], negative["estimate"], negative["unit"]) == ("supported", 1.0, "Kendall's tau")
    assert judge({**claim, "direction": "positive"})["verdict"] == "contradicted"
    three = judge({**claim, "direction": "negative", "variants": ["a", "c", "d"]})
    assert three["verdict"] == "supported"
    assert "over 3 variants" in three["component"]
    average = judge({**claim, "direction": "negative", "quantifier": "average over the named datasets"})
    assert average["verdict"] == "supported"


def test_an_association_needs_ten_seeds(tmp_path):
    rng = np.random.default_rng(9)
    scores = plain(rng, {"a": 0.5, "b": 0.6, "c": 0.7})
    for v in scores:
        scores[v]["js.all"] = rng.random((5, 200))
    claim = {"metric": "js", "relation": "association", "associated_with": {"metric": "accuracy"}}
    verdict = judge_of(tmp_path, {"toy": scores})({**claim, "direction": "negative", "subject": None, "rivals": None})
    assert verdict["verdict"] == "not testable"
    assert "at least 10" in verdict["reason"]


def test_an_association_reads_diverged_runs_both_ways(tmp_path):
    rng = np.random.default_rng(9)
    levels = {"a": 0.55, "b": 0.65, "c": 0.75, "d": 0.85}
    scores = plain(rng, levels, seeds=12)
    for v, level in levels.items():
        scores[v]["js.all"] = rng.normal(1 - level, 0.01, (12, 200))
    scores["d"] = {name: matrix[:10] for name, matrix in scores["d"].items()}
    runs = {(v, "macro_f1"): rng.random(12) for v in levels}
    judge = judge_of(tmp_path, {"toy": scores}, seeds=range(12), diverged={"d": [3, 4]}, runs=runs)
    claim = {"metric": "js", "relation": "association", "direction": "negative", "subject": None, "rivals": None}
    judge({**claim, "associated_with": {"metric": "accuracy"}})
    removed = judge.evidence["claim-0|toy|js-with-accuracy|both"]
    at_chance = judge.evidence["claim-0|toy|js-with-accuracy|both|at chance"]
    assert (removed["n_seeds"], removed["n_diverged"]) == (10, 2)
    assert (at_chance["n_seeds"], at_chance["n_diverged"]) == (12, 2)
    whole = judge({**claim, "associated_with": {"metric": "macro_f1"}})
    assert whole["verdict"] == "not testable"
    assert "one value per run" in whole["reason"]


def test_diverged_runs_that_change_the_answer_leave_it_undetermined(tmp_path):
    # b fails in one of five seeds. Without it a is worse; with it at chance (half of the items) a is not clearly so
    rng = np.random.default_rng(10)
    a, b = accurate(rng, 0.7), accurate(rng, 0.75, seeds=4)
    scores = {"toy": {"a": {"correct.own": a}, "b": {"correct.own": b}}}
    judge = judge_of(tmp_path, scores, diverged={"b": [2]})
    verdict = judge({"subject": "b", "rivals": "a"})
    finished = b - a[[0, 1, 3, 4]]
    majority = np.arange(200) % 2 == 0  # labels alternate: a tie, the first class counts
    at_chance = np.vstack([finished, majority - a[2]])
    assert both(finished)[1] > 0
    assert both(at_chance)[1] < 0 < both(at_chance)[2]
    assert verdict["verdict"] == "undetermined"
    assert "supported with them removed, undetermined with them at chance" in verdict["reason"]
    row = judge.evidence["claim-0|toy|b-vs-a|both|at chance"]
    assert (row["estimate"], row["n_diverged"], row["n_seeds"]) == (pytest.approx(at_chance.mean()), 1, 5)
    assert judge.evidence["claim-0|toy|b-vs-a|both"]["n_seeds"] == 4
    against = judge({"subject": "a", "rivals": "b", "margin": 0.3})
    assert against["verdict"] == "contradicted"


def test_a_diverged_run_without_a_score_at_chance_leaves_the_claim_open(tmp_path):
    rng = np.random.default_rng(10)
    scores = {"toy": {"a": {"correct.own": accurate(rng, 0.7)}, "b": {"correct.own": accurate(rng, 0.7, seeds=4)}}}
    runs = {("a", "macro_f1"): [0.9, 0.9, 0.91, 0.92, 0.9], ("b", "macro_f1"): [0.5, 0.51, 0.5, 0.52]}
    judge = judge_of(tmp_path, scores, diverged={"b": [2]}, runs=runs)
    verdict = judge({"metric": "macro_f1", "population": "seeds"})
    assert verdict["verdict"] == "undetermined"
    assert "supported with them removed, not testable with them at chance" in verdict["reason"]
    assert verdict["needed"] == "finished runs in place of the diverged ones"
    assert "a run that diverged has no macro_f1" in judge.evidence["claim-0|toy|a-vs-b|seeds|at chance"]["notes"]


def test_a_metric_of_whole_runs_is_judged_and_planned_for_seeds(tmp_path):
    rng = np.random.default_rng(10)
    a, b = [0.9, 0.5, 0.91, 0.92, 0.9], [0.8, 0.51, 0.7, 0.92, 0.9]
    runs = {("a", "macro_f1"): a, ("b", "macro_f1"): b}
    judge = judge_of(tmp_path, {"toy": plain(rng, {"a": 0.7, "b": 0.7})}, runs=runs)
    verdict = judge({"metric": "macro_f1", "population": "seeds"})
    d = np.subtract(a, b)
    t = scipy.stats.ttest_1samp(d, 0).confidence_interval(0.95)
    assert (verdict["low"], verdict["high"]) == pytest.approx((t.low, t.high))
    n = int(verdict["needed"].split()[2])
    assert scipy.stats.t.ppf(0.975, n - 1) * d.std(ddof=1) / math.sqrt(n) < d.mean()
    assert scipy.stats.t.ppf(0.975, n - 2) * d.std(ddof=1) / math.sqrt(n - 1) >= d.mean()
    assert judge({"metric": "macro_f1"})["verdict"] == "not testable"


def test_two_seeds_are_not_testable_for_new_seeds(tmp_path):
    rng = np.random.default_rng(11)
    judge = judge_of(tmp_path, {"toy": plain(rng, {"a": 0.9, "b": 0.5}, seeds=2)}, seeds=(0, 1))
    verdict = judge({})
    assert (verdict["verdict"], verdict["verdict_seeds"]) == ("not testable", "not testable")
    assert "2 seeds cannot speak for new seeds" in verdict["reason"]
    assert verdict["low"] is None
    assert verdict["estimate"] == pytest.approx(0.4, abs=0.05)
    assert judge({"population": "items"})["verdict"] == "supported"
    assert judge.lines[-1].startswith("1 of 1 claims are testable here")


def test_two_speakers_are_not_testable_for_new_ones_and_few_are_flagged(tmp_path):
    rng = np.random.default_rng(12)
    scores = {"toy": plain(rng, {"a": 0.9, "b": 0.5})}
    judge = judge_of(tmp_path, scores, groups={"speaker": np.arange(200) % 2})
    verdict = judge({})
    assert (verdict["verdict"], verdict["verdict_seeds"]) == ("not testable", "supported")
    assert "2 groups of items cannot speak" in verdict["reason"]
    few = judge_of(tmp_path / "few", scores, groups={"speaker": np.arange(200) % 5})({})
    assert few["n_groups"] == 5
    assert "fewer than 10 groups" in few["reason"]
    assert "5 groups" in few["line"]


def test_seeds_declared_independent_are_compared_by_welch(tmp_path):
    rng = np.random.default_rng(13)
    scores = {"toy": plain(rng, {"a": 0.75, "b": 0.7}, sd_seed=0.02)}
    judge = judge_of(tmp_path, scores)
    verdict = judge({"seed_pairing": "independent", "population": "seeds"})
    a, b = (scores["toy"][v]["correct.own"].mean(axis=1) for v in "ab")
    t = scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (verdict["low"], verdict["high"]) == pytest.approx((t.low, t.high))
    assert judge.evidence["claim-0|toy|a-vs-b|seeds"]["pairing"] == "independent seeds"


def test_the_better_of_two_heads_is_chosen_on_validation_within_each_seed(tmp_path):
    rng = np.random.default_rng(14)
    scores = plain(rng, {"x": 0.6, "y": 0.8, "r1": 0.5, "r2": 0.7, "solo": 0.55})
    # validation prefers x in seeds 0 and 1 and y afterwards; r2 always; ties go to the first
    better_x = {(v, s): float((v == "x") == (s < 2)) for v in "xy" for s in range(5)}
    rival = {("r1", s): 0.5 for s in range(5)} | {("r2", s): 0.5 + (s > 0) for s in range(5)}
    families = {"x": "X", "y": "X", "r1": "R", "r2": "R"}
    judge = judge_of(tmp_path, {"toy": scores}, families=families, validation=better_x | rival)
    verdict = judge({"relation": "largest of", "subject": ["x", "y"], "rivals": "all others"})
    rows = {key: np.asarray(value["correct.own"]) for key, value in scores.items()}
    subject = np.vstack([rows["x"][:2], rows["y"][2:]])
    of_family = np.vstack([rows["r1"][:1], rows["r2"][1:]])
    row = judge.evidence["claim-0|toy|best of x, y-vs-best of r1, r2|both"]
    assert row["estimate"] == pytest.approx((subject - of_family).mean())
    assert "claim-0|toy|best of x, y-vs-solo|both" in judge.evidence
    assert "chosen on validation within each seed: x 2, y 3" in row["notes"]
    optimism = 100 * (rows["y"].mean() - subject.mean())
    assert f"choosing on test would add {optimism:+.2f} pp" in verdict["reason"]


def test_best_val_chooses_by_the_best_epoch_on_validation(tmp_path):
    rng = np.random.default_rng(14)
    scores = plain(rng, {"x": 0.6, "y": 0.8, "b": 0.5})
    # last epochs say x (0.45 against 0.1), best epochs say y (0.55 against 0.9)
    validation = {("x", s): 0.45 for s in range(5)} | {("y", s): 0.1 for s in range(5)}
    for selection, chosen in (("last", "x"), ("best_val", "y")):
        judge = judge_of(tmp_path / selection, {"toy": scores}, validation=validation, selection=selection)
        judge({"subject": ["x", "y"], "selection": selection})
        row = judge.evidence["claim-0|toy|best of x, y-vs-b|both"]
        difference = np.asarray(scores[chosen]["correct.own"]) - scores["b"]["correct.own"]
        assert row["estimate"] == pytest.approx(difference.mean())
        assert row["selection"] == selection


def test_choosing_without_a_validation_score_is_refused(tmp_path):
    rng = np.random.default_rng(14)
    judge = judge_of(tmp_path, {"toy": plain(rng, {"x": 0.6, "y": 0.8, "b": 0.5})}, validation={("x", 0): 0.5})
    with pytest.raises(TcmaxError, match=r"history\.parquet has no accuracy\.val\.own for seed 1 of x"):
        judge({"subject": ["x", "y"]})


def test_a_seed_has_diverged_for_a_family_only_where_all_its_members_did(tmp_path):
    rng = np.random.default_rng(15)
    scores = {
        "x": {"correct.own": accurate(rng, 0.8, seeds=3)},
        "y": {"correct.own": accurate(rng, 0.7, seeds=3)},
        "b": {"correct.own": accurate(rng, 0.5)},
    }
    validation = {(v, s): 0.5 for v in "xy" for s in range(5)}
    judge = judge_of(tmp_path, {"toy": scores}, diverged={"x": [0, 1], "y": [1, 2]}, validation=validation)
    judge({"subject": ["x", "y"]})
    row = judge.evidence["claim-0|toy|best of x, y-vs-b|both"]
    assert (row["n_seeds"], row["n_diverged"]) == (4, 1)
    b, x, y = (scores[v]["correct.own"] for v in "bxy")
    chosen = np.stack([y[0] - b[0], x[0] - b[2], x[1] - b[3], x[2] - b[4]])
    assert row["estimate"] == pytest.approx(chosen.mean())


def test_a_modality_or_a_divergence_can_be_claimed(tmp_path):
    rng = np.random.default_rng(16)
    scores = plain(rng, {"a": 0.8, "b": 0.8})
    for v, level, divergence in (("a", 0.4, 0.5), ("b", 0.7, 0.1)):
        scores[v]["correct.right"] = accurate(rng, level)
        scores[v]["js.all"] = rng.normal(divergence, 0.05, (5, 200))
    judge = judge_of(tmp_path, {"toy": scores})
    assert judge({"relation": "less", "readout": "right"})["verdict"] == "supported"
    assert judge({"relation": "smallest of", "subject": "b", "rivals": None, "metric": "js"})["verdict"] == "supported"
    own = judge({"rivals": "a", "rival_readout": "right"})
    assert own["verdict"] == "supported"
    assert own["component"] == "a (own) minus a (right) on toy"
    with pytest.raises(TcmaxError, match=r"claims\.yaml: claims\.claim-0: .*read-outs are own, right, all"):
        judge({"readout": "middle"})


def test_a_line_holds_everything_a_reader_needs(tmp_path):
    rng = np.random.default_rng(17)
    scores = {"toy": plain(rng, {"a": 0.702, "b": 0.7}, n=400, blur=0.1)}
    judge = judge_of(tmp_path, scores)
    verdict = judge({"smallest_gain": 0.05})
    mean, low, high = both(scores["toy"]["a"]["correct.own"] - scores["toy"]["b"]["correct.own"])
    pieces = verdict["line"].split("; ")
    assert pieces[0] == "claim-0: undetermined"
    assert pieces[1] == (
        f"a minus b on toy: {100 * mean:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}] pp, margin +0.00 pp"
    )
    assert pieces[2] == "5 seeds / 400 items / no groups"
    assert pieces[3].startswith("new seeds and new items (new seeds on this test set: ")
    assert "at the observed difference" in pieces[4]
    assert "at a difference of 5.00 pp" in pieces[5]
    assert verdict["needed"] == "; ".join(pieces[4:])
    assert judge.lines[0] == verdict["line"]


def test_a_claim_that_cannot_be_tested_gets_its_reason(tmp_path):
    rng = np.random.default_rng(18)
    judge = judge_of(tmp_path, {"toy": plain(rng, {"a": 0.7, "b": 0.7})})
    untestable = dict.fromkeys(("subject", "rivals", "metric", "relation"))
    verdict = judge({**untestable, "testable": False, "reason": "Not a number.", "data_needed": "MVSA."})
    assert (verdict["verdict"], verdict["reason"], verdict["evidence"]) == ("not testable", "Not a number.", [])
    assert verdict["line"] == "claim-0: not testable here; Not a number. Would be tested by: MVSA."
    assert (
        judge.lines[-1] == "0 of 1 claims are testable here; false 'supported' to expect if none were true: at most 0."
    )


def test_the_expected_number_of_false_supports_counts_testable_claims(tmp_path):
    rng = np.random.default_rng(18)
    judge = judge_of(tmp_path, {"toy": plain(rng, {"a": 0.7, "b": 0.7})})
    judge({}, {"alpha": 0.1}, {"relation": "largest of", "rivals": None})
    assert judge.lines[-1].endswith("at most 0.1.")
    head = parquet.header(tmp_path / "made-up" / "verdicts.parquet")
    assert head["expected_false_supported"] == pytest.approx(0.1)


def test_fail_on_asks_for_a_verdict_word(tmp_path):
    rng = np.random.default_rng(19)
    judge = judge_of(tmp_path, {"toy": plain(rng, {"a": 0.5, "b": 0.8})})
    judge({}, fail_on="contradicted")
    assert judge.failed
    judge({}, fail_on="supported")
    assert not judge.failed
    with pytest.raises(TcmaxError, match="there is no verdict 'wrong'"):
        judge({}, fail_on="wrong")


def test_verdicts_say_whether_the_claims_changed_after_training(tmp_path):
    rng = np.random.default_rng(20)
    judge = judge_of(tmp_path, {"toy": plain(rng, {"a": 0.7, "b": 0.7})})
    verdict = judge({})
    assert verdict["claims_changed_after_training"] is None
    assert verdict["claims_sha256"] == sha256(tmp_path / "claims.yaml")

    def trained_under(hash_of):
        for v in "ab":
            for s in range(5):
                side = tmp_path / "made-up" / "toy" / "fold_0" / v / f"seed_{s}" / "sidecar.json"
                write_json(side, {"claims_sha256": hash_of(v, s)})

    now = verdict["claims_sha256"]
    trained_under(lambda v, s: now)
    assert judge({})["claims_changed_after_training"] is False
    trained_under(lambda v, s: None if s == 2 else now)
    assert judge({})["claims_changed_after_training"] is None
    trained_under(lambda v, s: "another" if (v, s) == ("b", 3) else now)
    assert judge({})["claims_changed_after_training"] is True
    assert "changed after training" in judge.lines[-1]


def test_every_verdict_names_rows_of_evidence_that_exist(tmp_path):
    rng = np.random.default_rng(21)
    datasets = ("one", "two", "three")
    scores = {d: plain(rng, {"a": 0.75, "b": 0.7, "c": 0.6}, n=60) for d in datasets}
    judge = judge_of(tmp_path, scores, datasets)
    quantifiers = ("each dataset", "some dataset", "average over the named datasets", "datasets in general")
    relations = ({}, {"relation": "largest of", "rivals": None}, {"population": "items"})
    judge(*({**relation, "quantifier": quantifier} for quantifier in quantifiers for relation in relations))
    named = [key for verdict in judge.verdicts for key in verdict["evidence"]]
    assert sorted(named) == sorted(judge.evidence)
    assert all(verdict["evidence"] for verdict in judge.verdicts)


def test_equal_inputs_give_equal_bytes(tmp_path):
    rng = np.random.default_rng(22)
    scores = plain(rng, {"a": 0.7, "b": 0.7, "c": 0.6}, seeds=10, n=50)
    judge = judge_of(tmp_path, {"toy": scores}, seeds=range(10))
    association = {
        "relation": "association",
        "associated_with": {"metric": "balanced_accuracy"},
        "direction": "positive",
        "subject": None,
        "rivals": None,
    }
    judge({}, association)
    paths = [tmp_path / "made-up" / name for name in ("claim_evidence.parquet", "verdicts.parquet")]
    first = [path.read_bytes() for path in paths]
    judge({}, association)
    assert [path.read_bytes() for path in paths] == first


def judged_runs(tmp_path, a, b, **claim):
    """A claim that a is greater than b on the scores of whole runs."""
    seeds = tuple(range(len(a)))
    rng = np.random.default_rng(19)
    judge = judge_of(tmp_path, {"toy": plain(rng, {"a": 0.7, "b": 0.7}, seeds=len(a))}, seeds=seeds)
    scores = plain(rng, {"a": 0.7, "b": 0.7}, seeds=len(a))
    runs = {("a", "macro_f1"): a, ("b", "macro_f1"): b}
    write_items(tmp_path / "made-up" / "toy", scores, seeds=seeds, runs=runs)
    verdict = judge({"metric": "macro_f1", "population": "seeds", **claim})
    return verdict, judge.evidence["claim-0|toy|a-vs-b|seeds"]


@pytest.mark.parametrize("best", [1.0, 0.999999])
def test_scores_of_whole_runs_that_are_all_0_or_1_are_scores_of_whole_runs(tmp_path, best):
    a, b = np.full(8, best), np.array([0, 1, 0, 0, 0, 1, 0, 0]) * best
    verdict, row = judged_runs(tmp_path, a, b)
    low = scipy.stats.ttest_rel(a, b).confidence_interval(0.95).low
    assert (verdict["estimate"], verdict["low"], verdict["high"]) == pytest.approx((0.75, low, 1), abs=1e-5)
    assert verdict["verdict"] == "supported"
    assert "bonett" not in row["notes"]
    assert "groups" not in row["notes"]


@pytest.mark.parametrize(("n", "word"), [(5, "undetermined"), (6, "supported")])
def test_runs_that_all_differ_the_same_way_are_decided_by_the_sign_flip(tmp_path, n, word):
    verdict, row = judged_runs(tmp_path, np.ones(n), np.zeros(n))
    assert (verdict["estimate"], verdict["verdict"]) == (1, word)
    assert row["p_greater"] == (2.0**-n if n == 6 else 1)


def test_a_calibration_error_cannot_be_claimed(tmp_path):
    rng = np.random.default_rng(20)
    scores = plain(rng, {"a": 0.7, "b": 0.7})
    for of_variant in scores.values():
        of_variant["confidence.own"] = rng.uniform(0.5, 1, (5, 200))
    verdict = judge_of(tmp_path, {"toy": scores})({"metric": "ece", "relation": "less"})
    assert verdict["verdict"] == "not testable"
    assert "chance alone makes a calibration error positive" in verdict["reason"]


def test_constant_gains_of_rounded_scores_over_datasets_decide_nothing(tmp_path):
    datasets = ("one", "two", "three", "four")
    judge = judge_of(tmp_path, {d: plain(np.random.default_rng(1), {"a": 0.7, "b": 0.7}) for d in datasets}, datasets)
    for dataset, alpha in zip(datasets, (0.6, 0.05, 0.16, 0.3), strict=True):  # their gains differ in the last bit
        scores = plain(np.random.default_rng(1), {"a": 0.7, "b": 0.7})
        runs = {("a", "macro_f1"): [round(alpha + 0.01, 2)] * 5, ("b", "macro_f1"): [alpha] * 5}
        write_items(tmp_path / "made-up" / dataset, scores, seeds=(0, 1, 2, 3, 4), runs=runs)
    for quantifier in ("datasets in general", "average over the named datasets"):
        claim = {"metric": "macro_f1", "population": "seeds", "quantifier": quantifier}
        assert judge(claim)["verdict"] == "undetermined"


def test_the_line_of_a_tuned_verdict_names_the_settings_it_holds_for(tmp_path):
    """One search is held fixed, and that is said."""
    tuned = made_up(("a", "b"))
    settings = tuned.settings.model_copy(update={"tuning": TuningSettings(trials=16)})
    write_items(tmp_path / "made-up" / "toy", {"a": {"nll.own": np.ones((3, 4))}, "b": {"nll.own": np.ones((3, 4))}})
    path = one_claim(tmp_path)
    for experiment, said in ((tuned, False), (Experiment(tuned.path, settings), True)):
        (line, *_), _ = audit_claims(experiment, tmp_path, path)
        assert line.endswith("; 16 trials each (random), chosen on validation items, search held fixed") == said
