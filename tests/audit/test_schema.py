"""Claims files: what they may say, and the sentence that each mistake gets."""

import hashlib
import re

import pytest
import yaml
from projects import ROOT
from scored import made_up

from tcmax.audit.schema import Claim, contrasts_of, load_claims
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import load

VALID = {
    "id": "a-beats-b",
    "text": "A beats B.",
    "source": {"document": "Paper", "section": "Abstract"},
    "origin": "published",
    "subject": "a",
    "rivals": "b",
    "metric": "accuracy",
    "relation": "greater",
}
UNTESTABLE = {key: VALID[key] for key in ("id", "text", "source", "origin")} | {
    "testable": False,
    "reason": "Not a number.",
}
EXPERIMENT = made_up("abcd", ("one", "two"), families={"a": "A", "b": "A", "c": "C", "d": "C"})


def write(tmp_path, *claims):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": list(claims)}, sort_keys=False))
    return path


def only(tmp_path, **changes):
    claim = {key: value for key, value in {**VALID, **changes}.items() if value is not None}
    return load_claims(write(tmp_path, claim), EXPERIMENT).claims[0]


def test_the_smallest_claim_has_the_documented_defaults(tmp_path):
    claim = only(tmp_path)
    assert (claim.datasets, claim.quantifier, claim.population, claim.alpha, claim.margin, claim.seed_pairing) == (
        "all",
        "each dataset",
        "both",
        0.05,
        0.0,
        "paired",
    )
    assert contrasts_of(claim, EXPERIMENT, "one") == ((("a",), ("b",)),)
    assert (claim.source.document, claim.source.section, claim.source.wording) == ("Paper", "Abstract", "quoted")


def test_wording_and_proxy_are_kept(tmp_path):
    claim = only(
        tmp_path,
        source={"document": "Paper", "section": "Table 2", "wording": "paraphrased"},
        proxy_for="the rows of Table 2",
        printed_table="Table 2",
    )
    assert (claim.source.section, claim.source.wording) == ("Table 2", "paraphrased")
    assert (claim.proxy_for, claim.printed_table) == ("the rows of Table 2", "Table 2")


def test_the_hash_is_that_of_the_file(tmp_path):
    path = write(tmp_path, VALID)
    assert load_claims(path, EXPERIMENT).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_all_others_leave_out_siblings(tmp_path):
    claim = only(tmp_path, relation="largest of", rivals=None)
    assert contrasts_of(claim, EXPERIMENT, "one") == ((("a",), ("c",)), (("a",), ("d",)))


def test_the_best_of_several_meets_rivals_that_may_choose_too(tmp_path):
    claim = only(tmp_path, relation="largest of", subject=["a", "b"], rivals="all others")
    assert contrasts_of(claim, EXPERIMENT, "one") == ((("a", "b"), ("c", "d")),)
    named = only(tmp_path, relation="largest of", subject=["a", "b"], rivals=["c", ["d", "c"]])
    assert contrasts_of(named, EXPERIMENT, "one") == ((("a", "b"), ("c",)), (("a", "b"), ("d", "c")))


def test_monotone_is_its_adjacent_steps(tmp_path):
    claim = only(tmp_path, relation="monotone", subject=None, rivals=None, variants=["c", "a", "b"])
    assert contrasts_of(claim, EXPERIMENT, "one") == ((("a",), ("c",)), (("b",), ("a",)))


@pytest.mark.parametrize(
    ("keys", "pairs"),
    [
        ({"variants": ["a", "b", "c"], "relation": "greater"}, {"ab", "ba", "ac", "ca", "bc", "cb"}),
        (
            {"variants": ["a", "b", "c"], "relation": "equal", "margin": 0.1, "margin_reason": "why"},
            {"ab", "ac", "bc"},
        ),
        ({"subject": "c", "rivals": "all others", "relation": "greater"}, {"ca", "cb"}),  # d is a sibling
    ],
)
def test_a_free_search_meets_every_pair(tmp_path, keys, pairs):
    claim = {key: value for key, value in VALID.items() if key not in ("subject", "rivals", "relation")}
    (loaded,) = load_claims(write(tmp_path, {**claim, "quantifier": "some pair", **keys}), EXPERIMENT).claims
    assert {a + b for (a,), (b,) in contrasts_of(loaded, EXPERIMENT, "one")} == pairs


def test_one_variant_may_be_compared_with_itself_in_another_read_out(tmp_path):
    claim = only(tmp_path, rivals="a", readout="left", rival_readout="right")
    assert contrasts_of(claim, EXPERIMENT, "one") == ((("a",), ("a",)),)


ASSOCIATION = {
    "relation": "association",
    "subject": None,
    "rivals": None,
    "associated_with": {"metric": "js"},
    "direction": "negative",
}

MISTAKES = [
    ({"metrik": "accuracy"}, "metrik: unknown key"),
    ({"text": None}, "text: this key is missing"),
    ({"source": {"document": "Paper"}}, "source.section: this key is missing"),
    ({"source": {"document": "P", "section": "1", "wording": "invented"}}, "source.wording: input should be 'quoted'"),
    ({"origin": "mine"}, "origin: input should be 'published'"),
    ({"id": "A beats B"}, "is not lower-case letters"),
    ({"datasets": ["three"]}, "datasets: there is no dataset 'three' in made-up; it has one, two"),
    ({"datasets": []}, "datasets: the list is empty"),
    ({"datasets": ["one", "one"]}, "datasets: something is listed twice"),
    ({"subject": "e"}, "subject: there is no variant 'e'; variants: a, b, c, d"),
    ({"rivals": "e"}, "rivals: there is no variant 'e'"),
    ({"rivals": None}, "rivals: the relation 'greater' needs it"),
    ({"rivals": "all others"}, "'all others' belongs to 'largest of'"),
    ({"rivals": ["a", "b"]}, "rivals: a is the subject too"),
    ({"rivals": "a", "readout": "left", "rival_readout": "left"}, "rivals: a is the subject too"),
    ({"subject": None}, "subject: the relation 'greater' needs it"),
    ({"variants": ["a", "b"]}, "variants: the relation 'greater' does not use it"),
    ({"metric": "accuracies"}, "metric: there is no metric 'accuracies'; metrics: accuracy, "),
    ({"metric": None}, "metric: a testable claim needs it"),
    ({"relation": None}, "relation: a testable claim needs it"),
    ({"relation": "better"}, "relation: input should be 'greater'"),
    ({"margin": "0.01"}, "margin: a number in the metric's unit"),
    ({"margin": float("inf")}, "margin: input should be a finite number"),
    ({"margin": -0.01}, "margin_reason: a negative margin (non-inferiority) needs a reason"),
    ({"relation": "equal"}, "margin: 'equal' needs a margin above 0"),
    ({"relation": "equal", "margin": 0.0}, "margin: 'equal' needs a margin above 0"),
    ({"relation": "equal", "margin": 0.01}, "margin_reason: the margin of 'equal' needs a reason"),
    (
        {"relation": "equal", "margin": 0.01, "margin_reason": "why", "smallest_gain": 0.1},
        "smallest_gain: 'equal' is planned by its margin",
    ),
    ({"smallest_gain": 0}, "smallest_gain: input should be greater than 0"),
    ({"smallest_gain": 0.01, "margin": 0.02}, "smallest_gain: a gain of interest lies above the margin"),
    (
        {"quantifier": "some pair", "relation": "largest of"},
        "quantifier: 'some pair' belongs to the relations greater, less and equal",
    ),
    ({"quantifier": "some pair", "variants": "all"}, "rivals: the relation 'greater' does not use it"),
    (
        {"quantifier": "some pair", "variants": ["a"], "subject": None, "rivals": None},
        "variants: a pair needs two of them",
    ),
    ({"quantifier": "most datasets"}, "quantifier: input should be 'each dataset'"),
    ({"selection": "best_test_oracle"}, "selection: best_test_oracle chooses by the test labels and can never feed"),
    ({"selection": "first"}, "selection: input should be 'last'"),
    ({"population": "printed table"}, "population: claims about a printed table are judged from the table"),
    ({"population": "everything"}, "population: input should be 'seeds'"),
    ({"alpha": 0.5}, "alpha: input should be less than 0.5"),
    ({"alpha": 0}, "alpha: input should be greater than 0"),
    ({"seed_pairing": "yes"}, "seed_pairing: input should be 'paired'"),
    ({"reason": "because"}, "reason and data_needed belong to a claim with `testable: false`"),
    (
        {"relation": "monotone", "subject": None, "rivals": None, "variants": "all"},
        "variants: monotone needs the steps in order",
    ),
    ({"relation": "monotone", "subject": None, "rivals": None}, "variants: the relation 'monotone' needs it"),
    ({"relation": "monotone", "variants": ["a", "b"]}, "rivals: the relation 'monotone' does not use it"),
    ({**ASSOCIATION, "direction": None}, "direction: the relation 'association' needs it"),
    ({**ASSOCIATION, "associated_with": None}, "associated_with: the relation 'association' needs it"),
    ({**ASSOCIATION, "associated_with": {"metric": "?"}}, "associated_with.metric: there is no metric '?'"),
    ({**ASSOCIATION, "variants": ["a", "b"]}, "variants: an association needs three variants"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_is_one_sentence_with_file_claim_and_key(tmp_path, changes, message):
    claim = {key: value for key, value in {**VALID, **changes}.items() if value is not None}
    with pytest.raises(TcmaxError) as caught:
        load_claims(write(tmp_path, claim), EXPERIMENT)
    said = str(caught.value)
    assert message in said
    assert said.startswith(f"{tmp_path / 'claims.yaml'}: claims.{claim['id']}")
    assert said.endswith(".")
    assert "\n" not in said


def test_a_claim_that_cannot_be_tested_says_why_and_computes_nothing(tmp_path):
    assert not load_claims(write(tmp_path, UNTESTABLE), EXPERIMENT).claims[0].testable
    with pytest.raises(TcmaxError, match=r"claims\.a-beats-b\.reason: a claim with `testable: false` says why"):
        load_claims(write(tmp_path, {**UNTESTABLE, "reason": ""}), EXPERIMENT)
    with pytest.raises(TcmaxError, match="metric: a claim with `testable: false` computes nothing"):
        load_claims(write(tmp_path, {**UNTESTABLE, "metric": "accuracy"}), EXPERIMENT)


def test_an_id_names_one_claim(tmp_path):
    with pytest.raises(TcmaxError, match=r"claims\.a-beats-b: this id occurs twice"):
        load_claims(write(tmp_path, VALID, VALID), EXPERIMENT)


def test_variants_that_do_not_run_on_a_dataset_are_named(tmp_path):
    settings = EXPERIMENT.settings.model_copy(
        update={
            "datasets": {"one": EXPERIMENT.settings.datasets["one"].model_copy(update={"variants": ("b", "c", "d")})}
        }
    )
    here = type(EXPERIMENT)(EXPERIMENT.path, settings)
    with pytest.raises(TcmaxError, match="subject: the variant 'a' does not run on one"):
        load_claims(write(tmp_path, VALID), here)


def test_an_average_needs_the_same_rivals_everywhere(tmp_path):
    datasets = dict(EXPERIMENT.settings.datasets)
    datasets["two"] = datasets["two"].model_copy(update={"variants": ("a", "c")})
    here = type(EXPERIMENT)(EXPERIMENT.path, EXPERIMENT.settings.model_copy(update={"datasets": datasets}))
    claim = {**VALID, "relation": "largest of", "rivals": "all others"}
    load_claims(write(tmp_path, claim), here)
    with pytest.raises(TcmaxError, match="needs the same rivals on every dataset"):
        load_claims(write(tmp_path, {**claim, "quantifier": "average over the named datasets"}), here)


def test_all_others_needs_others(tmp_path):
    lonely = made_up("ab", families={"a": "A", "b": "A"})
    with pytest.raises(TcmaxError, match="rivals: no other variant runs on toy"):
        load_claims(write(tmp_path, {**VALID, "relation": "largest of", "rivals": "all others"}), lonely)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claims: 3", "a claims file has one key, `claims`, with a list"),
        ("- id: x", "a claims file has one key"),
        ("claims: []\nmore: 1", "a claims file has one key"),
        ("claims: [x]", r"claims\.0: a claim is a mapping"),
        ("claims:\n  - id: x\n    id: y\n", "the key 'id' occurs twice"),
        ("claims: [", "line 1"),
    ],
)
def test_a_file_that_is_no_claims_file_is_named(tmp_path, text, message):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(TcmaxError, match=message):
        load_claims(path, EXPERIMENT)
    with pytest.raises(TcmaxError, match="cannot read"):
        load_claims(tmp_path / "none.yaml", EXPERIMENT)


@pytest.mark.parametrize("name", ["digits", "quick", "smoke", "av-digits"])
def test_the_claims_that_come_with_the_project_fit_their_experiment(name):
    root = ROOT / "config"
    experiment = load(root / f"{name}.yaml")
    claims = load_claims(root / "claims" / str(experiment.settings.claims), experiment)
    assert len(claims.claims) >= (14 if name in ("digits", "quick") else 1)
    for claim in claims.claims:
        if claim.origin == "published" and claim.testable:
            assert claim.proxy_for, f"{claim.id} is about other data than the sentence it quotes"


def test_the_examples_of_the_docs_are_claims(tmp_path):
    root = ROOT
    text = (root / "docs" / "add-a-claim.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 2
    path = tmp_path / "claims.yaml"
    for block in blocks:
        path.write_text(block if block.startswith("claims:") else f"claims:\n{block}")
        assert load_claims(path, load(root / "config" / "digits.yaml")).claims


def test_the_docs_explain_every_key():
    text = (ROOT / "docs" / "add-a-claim.md").read_text(encoding="utf-8")
    for key in Claim.model_fields:
        assert f"`{key}" in text, key


@pytest.mark.parametrize(
    ("changes", "margin"),
    [
        ({"margin": "1 pp"}, 0.01),
        ({"margin": "-2.5%", "margin_reason": "small"}, -0.025),
        ({"metric": "nll", "margin": "0.2 nats"}, 0.2),
        ({"metric": "nll", "margin": 3}, 3.0),  # a log-loss has no largest value
    ],
)
def test_a_margin_may_be_written_with_its_unit(tmp_path, changes, margin):
    assert only(tmp_path, **changes).margin == pytest.approx(margin, abs=1e-15)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"margin": 1}, r"margin: 1 is out of reach: two values of accuracy differ by less than 1; 0\.01 is one"),
        ({"margin": -1, "margin_reason": "no worse"}, r"margin: -1 is out of reach"),
        (
            {"metric": "brier", "margin": 2.5},
            r"margin: 2\.5 is out of reach: two values of brier differ by less than 2\.",
        ),
        ({"smallest_gain": 5}, r"smallest_gain: 5 is out of reach"),
        ({"metric": "nll", "margin": "1 pp"}, r"margin: nll is counted in nats, not in pp"),
        ({"margin": "one point"}, r"margin: a number in the metric's unit, or with its unit written, such as 1 pp"),
    ],
)
def test_a_margin_beyond_what_the_metric_can_reach_is_refused(tmp_path, changes, sentence):
    with pytest.raises(TcmaxError, match=rf"claims\.yaml: claims\.a-beats-b\.{sentence}"):
        only(tmp_path, **changes)
