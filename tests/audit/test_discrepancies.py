"""Flipped switches: which variants are flips, their effects by hand, and verdicts that change their word."""

from pathlib import Path

import numpy as np
import pytest
from projects import ROOT
from scored import one_claim, write_items

from tcmax.audit.discrepancies import audit_discrepancies, conclusions
from tcmax.errors import TcmaxError
from tcmax.evidence.compare import compare
from tcmax.experiment.grid import Experiment, load
from tcmax.experiment.settings import ExperimentSettings
from tcmax.experiment.switches import SWITCHES
from tcmax.records import kinds, parquet

SEEDS, ITEMS = 6, 200
TRAINING = {"epochs": 1, "batch_size": 8, "learning_rate": 0.1}
VARIANTS = {
    "alone": {"method": "unimodal", "head": "sum", "title": "Alone"},
    "together": {"method": "joint", "head": "shared-head", "title": "Together"},
    "bound": {"method": "tcmax", "head": "shared-head", "title": "Bound"},
    "together.average": {"method": "joint", "head": "shared-head", "switches": {"shared_head.average": True}},
    "bound.average": {"method": "tcmax", "head": "shared-head", "switches": {"shared_head.average": True}},
    "bound.split": {"method": "tcmax", "head": "shared-head", "switches": {"protocol.file_order_split": True}},
    "released": {"method": "tcmax", "head": "shared-head", "fidelity": "release"},
}
LEVELS = {  # accuracies, and thereby verdicts, that no noise moves
    "alone": 0.5,
    "together": 0.7,
    "bound": 0.9,
    "together.average": 0.7,
    "bound.average": 0.3,
    "bound.split": 0.2,
    "released": 0.6,
}


def experiment_of(variants=VARIANTS, **changes):
    settings = {
        "name": "made-up",
        "title": "Made up",
        "seeds": list(range(SEEDS)),
        "reference_variant": "alone",
        "training": TRAINING,
        "datasets": {"toy": {}},
        "variants": variants,
        **changes,
    }
    return Experiment(Path("made-up.yaml"), ExperimentSettings.model_validate(settings))


CLAIM = {"id": "bound-beats-together", "subject": "bound", "rivals": ["together"], "metric": "accuracy"}


def claims_file(folder, **changes):
    return one_claim(folder, **{**CLAIM, **changes})


@pytest.fixture
def matrices():
    rng = np.random.default_rng(0)
    return {
        name: {"correct.own": rng.random((SEEDS, ITEMS)) < level, "js.all": rng.random((SEEDS, ITEMS)) * level}
        for name, level in LEVELS.items()
    }


@pytest.fixture
def judged(tmp_path, matrices):
    write_items(tmp_path / "made-up" / "toy", matrices, seeds=range(SEEDS))
    path = claims_file(tmp_path)
    lines = audit_discrepancies(experiment_of(), tmp_path, path)
    return tmp_path, lines


def test_a_flip_differs_from_an_earlier_variant_in_one_switch_only():
    experiment = experiment_of()
    found = [(flip.switch, flip.value, flip.base, flip.variant) for flip in experiment.flips]
    assert found == [
        ("shared_head.average", True, "together", "together.average"),
        ("shared_head.average", True, "bound", "bound.average"),
        ("protocol.file_order_split", True, "bound", "bound.split"),
    ]
    assert experiment.arms_on("toy") == ("alone", "together", "bound", "released")
    other_head = {**VARIANTS, "bound.average": {**VARIANTS["bound.average"], "head": "concat"}}
    assert "bound.average" in experiment_of(other_head).arms_on("toy")


def test_effects_are_paired_differences_with_holm_over_all_flips(judged, matrices):
    table = parquet.read(judged[0] / "made-up" / "discrepancy_evidence.parquet", kinds.EVIDENCE).to_pandas()
    rows = table[(table["metric"] == "accuracy") & (table["population"] == "both")].set_index("a")
    assert list(rows.index) == ["together.average", "bound.average", "bound.split"]
    for label in rows.index:
        base = label.partition(".")[0]
        expected = matrices[label]["correct.own"].mean() - matrices[base]["correct.own"].mean()
        assert rows.loc[label, "estimate"] == pytest.approx(expected)
        assert rows.loc[label, "b"] == base
    raw = sorted(rows["p"])
    stepped = np.maximum.accumulate(np.minimum(1, np.array(raw) * [3, 2, 1]))
    assert sorted(rows["p_adjusted"]) == pytest.approx(list(stepped))
    assert rows["family"].iloc[0] == "each switch flipped alone, accuracy (own) on toy; tests: 3"
    assert set(table["metric"]) == {"accuracy", "js"}
    assert all(identity.endswith("|switch") for identity in table["id"])


def test_a_conclusion_changes_where_the_flipped_variants_take_their_places(judged):
    path = judged[0] / "made-up" / "discrepancies.parquet"
    rows = parquet.read(path, kinds.DISCREPANCIES).to_pandas().astype(str)
    found = {(row.switch, row.claim): (row.before, row.after) for row in rows.itertuples()}
    assert set(rows["dataset"]) == {"toy"}
    assert found == {
        # 0.9 against 0.7 becomes 0.3 against 0.7: both sides are flipped.
        ("shared_head.average", "bound-beats-together"): ("supported", "contradicted"),
        ("shared_head.average", "together-beats-alone"): ("supported", "supported"),
        ("shared_head.average", "bound-beats-alone"): ("supported", "contradicted"),
        # A protocol that one side alone has is no comparison.
    }
    assert judged[1][-1] == "1 of 2 deviations would have changed a conclusion (3 judged again)."
    assert len(judged[1]) == 3  # a line for each that changes, and a summary
    assert "bound-beats" not in judged[1][0]
    assert "A is larger. supported -> contradicted" in judged[1][0]


def test_rivals_are_flipped_too_and_a_conclusion_may_fail_as_published(tmp_path, matrices):
    write_items(tmp_path / "made-up" / "toy", matrices, seeds=range(SEEDS))
    audit_discrepancies(experiment_of(), tmp_path, claims_file(tmp_path, subject="together", rivals=["bound"]))
    path = tmp_path / "made-up" / "discrepancies.parquet"
    rows = parquet.read(path, kinds.DISCREPANCIES).to_pandas().astype(str)
    row = rows[rows["claim"] == "bound-beats-together"].iloc[0]
    assert (row["before"], row["after"]) == ("contradicted", "supported")  # 0.7 against 0.9, then against 0.3


def test_each_dataset_has_conclusions_and_flips_of_its_own(tmp_path, matrices):
    here = {label: variant for label, variant in VARIANTS.items() if label != "bound.average"}
    experiment = experiment_of(datasets={"toy": {}, "other": {"variants": list(here)}})
    write_items(tmp_path / "made-up" / "toy", matrices, seeds=range(SEEDS))
    weaker = {**matrices, "together.average": matrices["bound.split"]}  # 0.2 in place of 0.7
    write_items(tmp_path / "made-up" / "other", {label: weaker[label] for label in here}, seeds=range(SEEDS))
    lines = audit_discrepancies(experiment, tmp_path, claims_file(tmp_path))
    path = tmp_path / "made-up" / "discrepancies.parquet"
    rows = parquet.read(path, kinds.DISCREPANCIES).to_pandas().astype(str)
    found = {(row.dataset, row.claim): (row.before, row.after) for row in rows.itertuples()}
    assert found == {
        ("toy", "bound-beats-together"): ("supported", "contradicted"),
        ("toy", "together-beats-alone"): ("supported", "supported"),
        ("toy", "bound-beats-alone"): ("supported", "contradicted"),
        ("other", "bound-beats-together"): ("supported", "supported"),  # only the weaker side has a flip here
        ("other", "together-beats-alone"): ("supported", "contradicted"),
    }
    assert lines[-1] == "1 of 2 deviations would have changed a conclusion (5 judged again)."


def test_flipped_variants_take_no_part_in_other_comparisons(judged):
    compare(experiment_of(), judged[0])
    table = parquet.read(judged[0] / "made-up" / "evidence.parquet", kinds.EVIDENCE).to_pandas()
    compared = table[table["kind"] == "comparison"]
    assert set(compared["a"]) | set(compared["b"]) == {"alone", "together", "bound", "released"}
    assert set(table["a"]) == set(VARIANTS)  # estimates of all


def test_conclusions_are_about_variants_as_published_and_claims_that_can_be_tested(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(
        "claims: [{id: c, text: T., source: {document: d, section: s}, origin: published, testable: false, "
        "reason: There are no data., data_needed: Some.}]"
    )
    found = conclusions(experiment_of(), path)
    assert [claim.id for claim in found] == ["together-beats-alone", "bound-beats-alone", "released-beats-alone"]


def test_claims_name_their_variants_and_an_experiment_flips_something(tmp_path):
    path = claims_file(tmp_path, rivals="all others", relation="largest of")
    with pytest.raises(TcmaxError, match="bound-beats-together: name the variants"):
        conclusions(experiment_of(), path)
    with pytest.raises(TcmaxError, match="bound-beats-together: name the variants"):
        conclusions(experiment_of(), claims_file(tmp_path, rivals=None, relation="largest of"))
    plain = experiment_of({label: VARIANTS[label] for label in ("alone", "together", "released")})
    with pytest.raises(TcmaxError, match="no variant equals another one but for a single switch"):
        audit_discrepancies(plain, tmp_path, None)


def test_every_switch_is_flipped_or_excused_in_the_shipped_experiment(monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment = load("discrepancies")
    flipped = {(flip.switch, flip.value) for flip in experiment.flips}
    excused = experiment.settings.inert_switches
    for name, switch in SWITCHES.items():
        values = {value for value in switch.values if value != switch.reference}
        assert name in excused or {(name, value) for value in values} <= flipped, name
        assert not (name in excused and any(name == known for known, _ in flipped)), name
    assert set(excused) <= set(SWITCHES)
    bases = {flip.base for flip in experiment.flips}
    assert all(not experiment.settings.variants[base].switches for base in bases)
