"""The 40 assertions of the method specification (§7), each with the tests that name it or the reason why none can.

A test names an assertion in its name or in its module's docstring: "assertion 17", "assertions 5, 22, 28". Four that
belong to no single module are tested here.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from factories import score_runs
from scipy import special, stats

from tcmax.audit.noise import binomial_se
from tcmax.metrics.calibration import fit_temperature
from tcmax.metrics.divergence import js_divergence
from tcmax.metrics.entropy import entropy
from tcmax.metrics.readout import energy_weighted, entropy_gated
from tcmax.records import kinds, parquet
from tcmax.stats.crossed import crossed, interval
from tcmax.stats.intervals import t_interval
from tcmax.stats.multiplicity import adjust

TESTS = Path(__file__).parent
HERE = Path(__file__).name

# Number -> what it says, and where it is tested (files below tests/).
ASSERTIONS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "joint logits are the sum of the unimodal ones in additive heads, half of it in the released ShareHead",
        ("models/fusion/test_heads.py", "models/fusion/test_prototype.py"),
    ),
    2: ("the released ShareHead trains TCMax on twice the logits it tests", ("models/fusion/test_heads.py",)),
    3: ("FiLM, Gated and BiGated have a direction, and a switch for it", ("models/fusion/test_nonadditive.py",)),
    4: ("scaling logits changes divergence, entropy and log-loss, not accuracy; calibration undoes it", (HERE,)),
    5: ("entropy and gating are finite for logits of 200", ("methods/test_mla.py", "methods/test_qmf.py", HERE)),
    6: ("exact, decoupled and completely sampled TCMax agree", ("information/test_total_correlation.py",)),
    7: ("the released loss is the paper's plus log(BC)", ("information/test_release.py",)),
    8: ("the loss is cross-entropy plus alignment minus log C", ("information/test_total_correlation.py",)),
    9: (
        "a full table reaches the total correlation, an additive one stops",
        ("information/test_total_correlation.py",),
    ),
    10: ("the loss has a floor, which memorising logits reach", ("information/test_total_correlation.py",)),
    11: (
        "large logits overflow in the release: counted, and the run is flagged",
        ("information/test_release.py", "information/test_total_correlation.py", "training/test_work.py"),
    ),
    12: (
        "sampled tuples are distinct, and repeat in the release",
        ("information/test_total_correlation.py", "information/test_release.py"),
    ),
    13: (
        "sampling works with a head that is not additive, and fails in the release",
        ("methods/test_tcmax_nonadditive.py", "information/test_release.py"),
    ),
    15: (
        "the label reference changes predictions on imbalanced classes only",
        ("information/test_total_correlation.py", "methods/test_tcmax_reference.py"),
    ),
    16: ("OGM damps one side's kernels, GE adds noise to both", ("methods/test_ogm.py",)),
    17: ("OGM's rules for three modalities", ("methods/test_ogm.py",)),
    18: ("AGM's responses sum to the joint logits; its scale in every fidelity", ("methods/test_agm.py",)),
    19: ("encoder gradients of the unimodal ensemble are those of separate models", ("methods/test_unimodal.py",)),
    20: ("QMF's hinge on two samples, its negative weights and its first batch", ("methods/test_qmf.py",)),
    21: ("OPM's drop rates, its late rates, and what rescaling keeps", ("methods/test_opm.py",)),
    22: ("MLA's projector is called, and positive semi-definite; gating per sample", ("methods/test_mla.py",)),
    23: ("MMPareto's min-norm gradient and when its guarantee breaks", ("methods/test_mmpareto.py",)),
    24: ("the original MMPareto keeps its learning rate", ("methods/test_mmpareto.py",)),
    25: (
        "MLB's coefficient at balance; MCR's regulariser acts by gradient",
        ("methods/test_mlb.py", "methods/test_mcr.py"),
    ),
    26: (
        "ReconBoost's agreement term, MMCosine's two modes, G-Blending's weights",
        ("methods/test_reconboost.py", "methods/test_mmcosine.py", "methods/test_g_blending.py"),
    ),
    27: ("PMR's prototypes: absent classes, and no held-out rows", ("methods/test_pmr.py",)),
    28: (
        "hooks skip frozen parts; absent and zero gradients differ",
        ("methods/test_base.py", "methods/test_mla.py", "methods/test_mmpareto.py"),
    ),
    29: ("the kept best model is a copy, and an alias in the release", ("training/test_protocol.py",)),
    30: ("every run reports the last, the best validated and the best tested epoch", ("training/test_protocol.py",)),
    31: ("what released lists share between their parts", ("data/test_released_lists.py",)),
    35: (
        "a seed gives the same alone and after another",
        ("methods/test_base.py", "methods/test_pmr.py", "methods/test_g_blending.py"),
    ),
    36: ("quantiles from a library, no interval from one seed, Holm, and the noise of a test set", (HERE,)),
    37: (
        "three joint read-outs for every method, and a label for a lead they make",
        ("report/test_readouts.py",),
    ),
    38: ("passes, updates, time and memory of every method", ("training/test_work.py",)),
    39: ("the entropy ratio under both conventions of weak and strong", (HERE,)),
    40: ("the scale of every method's logits", ("report/test_costs.py",)),
}
# The rules behind 32 to 34 are tested on made-up clips (tests/test_prepare.py, tests/data/test_media.py).
EXCUSED: dict[int, str] = {
    14: "paper and derived form of the regression loss: there is no regression task here",
    32: "how many clips list their frames out of order, and hashes of their sound: needs the paper's raw media",
    33: "how many of UCF101's flow slots are copies: needs its raw media",
    34: "shapes of the sound features of the paper's datasets: needs their raw media",
}


def numbers_named_in(path: Path) -> set[int]:
    """Numbers after "assertion" or "assertions" in a file's test names and docstrings."""
    listed = re.findall(r"assertions?[ _]((?:\d+(?:, | and |_and_|_)?)+)", path.read_text(encoding="utf-8"))
    return {int(number) for group in listed for number in re.findall(r"\d+", group)}


def test_every_assertion_has_tests_or_a_reason() -> None:
    assert sorted([*ASSERTIONS, *EXCUSED]) == list(range(1, 41))
    assert all(files for _, files in ASSERTIONS.values())


@pytest.mark.parametrize("number", ASSERTIONS)
def test_every_file_that_is_listed_names_its_assertion(number: int) -> None:
    for name in ASSERTIONS[number][1]:
        path = TESTS / name
        assert path.is_file(), f"assertion {number}: there is no {name}"
        assert number in numbers_named_in(path), f"{name} does not name assertion {number}"


# --- those that belong to no single module


def noisy_logits(n_items: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Logits (2 modalities, items, 5 classes) that are right more often than not, and labels."""
    rng = np.random.default_rng(4)
    labels = rng.integers(5, size=n_items)
    return 1.5 * np.eye(5)[labels] + rng.normal(size=(2, n_items, 5)), labels


def test_assertion_4_scaling_moves_divergence_entropy_and_log_loss_but_no_accuracy_until_calibrated() -> None:
    logits, labels = noisy_logits()
    scaled = 7.0 * logits

    def log_loss(values: np.ndarray) -> float:
        return float(-special.log_softmax(values, axis=-1)[:, np.arange(len(labels)), labels].mean())

    def calibrated(values: np.ndarray) -> np.ndarray:
        return np.stack([modality / fit_temperature(modality, labels).value for modality in values])

    for measure in (lambda v: js_divergence(v).mean(), lambda v: entropy(v).mean(), log_loss):
        assert abs(measure(scaled) - measure(logits)) > 0.02
        assert measure(calibrated(scaled)) == pytest.approx(measure(calibrated(logits)), abs=1e-6)
    np.testing.assert_array_equal(scaled.argmax(-1), logits.argmax(-1))
    assert js_divergence(scaled).max() <= np.log(2)
    np.testing.assert_allclose(js_divergence(np.stack([logits[0], logits[0]])), 0, atol=1e-12)


def test_assertion_5_entropy_and_both_weightings_are_finite_for_logits_of_200() -> None:
    logits = 400.0 * (np.random.default_rng(5).random((2, 50, 6)) > 0.5) - 200.0
    for values in (entropy(logits), entropy_gated(logits), energy_weighted(logits), js_divergence(logits)):
        assert np.isfinite(values).all()


def test_assertion_36_quantiles_come_from_a_library_and_one_seed_has_no_interval() -> None:
    for values in ([0.82, 0.83, 0.81], np.linspace(0.7, 0.9, 10)):
        found, n = t_interval(values), len(values)
        half = stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
        assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-12)
    # The released table of quantiles has 12.7065, 4.3026 and 2.2621 here.
    assert stats.t.ppf(0.975, [1, 2, 9]) == pytest.approx([12.7062, 4.3027, 2.2622], abs=5e-5)
    with pytest.raises(ValueError, match="two finite values"):
        t_interval([0.8])
    one_seed = crossed((np.arange(40) % 4 > 0).astype(float)[None, :])
    for population in ("seeds", "both"):
        with pytest.raises(ValueError, match="one seed says nothing about new seeds"):
            interval(one_seed, population)


def test_assertion_36_a_family_is_corrected_by_holm() -> None:
    p = {"agm": 0.011, "qmf": 0.04, "mla": 0.02, "opm": 0.9}
    expected = {"agm": 4 * 0.011, "mla": 3 * 0.02, "qmf": 2 * 0.04, "opm": 0.9}
    family = adjust(p, "rivals")
    assert dict(zip(family.members, family.adjusted, strict=True)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("accuracy", "items", "points"),
    [(0.828, 744, 1.4), (0.645, 402, 2.4), (0.635, 2594, 0.95), (0.476, 13294, 0.4), (0.56, 3783, 0.8)],
    ids=["CREMA-D", "AVE", "Kinetics-Sounds", "VGGSound", "UCF101"],
)
def test_assertion_36_the_noise_of_the_papers_test_sets(accuracy: float, items: int, points: float) -> None:
    assert 100 * binomial_se(accuracy, items) == pytest.approx(points, abs=0.05)
    assert 100 * stats.binom(items, accuracy).std() / items == pytest.approx(points, abs=0.05)


def test_assertion_39_the_entropy_ratio_is_given_under_both_conventions(tmp_path: Path) -> None:
    """The reference is better on the left, the variant on the right: the two ratios are each other's inverse."""
    skill = {("alone", "left"): 3.0, ("alone", "right"): 0.5, ("ours", "left"): 0.5, ("ours", "right"): 3.0}
    folder = score_runs(tmp_path, variants=("alone", "ours"), seeds=(0, 1), skill=skill, reference_variant="alone")
    frame = parquet.read(folder / "scores.parquet", kinds.SCORES).to_pandas()
    frame = frame[(frame["selection"] == "last") & (frame["seed"] == 0)]
    cells = zip(frame["variant"], frame["metric"], frame["readout"], frame["value"], strict=True)
    values = {(variant, metric, readout): value for variant, metric, readout, value in cells}

    def by(variant: str, metric: str) -> float:
        return values[variant, metric, "all"]

    left, right = (values["ours", "entropy", modality] for modality in ("left", "right"))
    assert by("ours", "entropy_ratio") == pytest.approx(right / left)
    assert by("ours", "entropy_ratio_own") == pytest.approx(left / right)
    assert by("alone", "entropy_ratio") == by("alone", "entropy_ratio_own")
    header = parquet.header(folder / "scores.parquet")
    assert header["weak_and_strong"]["last"] == {"alone": ["right", "left"], "ours": ["left", "right"]}
