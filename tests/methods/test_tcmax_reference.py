"""TCMax with the class law of the train part as its label reference (assertion 15; Eq. 13 against Eq. 11)."""

import longhand
import numpy as np
import pytest
import steps
import tiny
import torch
from factories import edit_predictions
from single import Run

from tcmax.data import DATASETS
from tcmax.data.base import Fold
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Cell
from tcmax.metrics.scoring import score
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json
from tcmax.registry import Entry
from tcmax.training import jobs
from tcmax.training.spec import resolve_run

UNIFORM = {"method": "tcmax", "head": "concat"}
EMPIRICAL = {**UNIFORM, "parameters": {"label_reference": "empirical"}}


def data_with(labels):
    """The tiny dataset with given labels of its first 30 items, which train; the others validate and test."""
    plain = tiny.dataset()
    given = np.concatenate([labels, plain.labels[30:]]).astype(np.int64)
    return tiny.dataset(labels=given, folds=(Fold(np.arange(30), np.arange(30, 40), np.arange(40, 51)),))


def imbalanced():
    return data_with([0] * 22 + [1] * 5 + [2] * 3)


def balanced():
    return data_with([0, 1, 2] * 10)


def trained(variant, data, epochs):
    training = tiny.training(epochs=epochs, learning_rate=0.05, batch_size=30, lr_drop_epochs=[], weight_decay=0.0)
    experiment = tiny.experiment(variants={"v": variant}, training=training, precision="float64")
    result = Run(resolve_run(experiment, data, "tiny", 0, "v"), 0, data, torch.device("cpu")).train()
    return result.selected["last"].logits


def test_a_step_equals_the_one_written_out_by_hand():
    data = imbalanced()
    step = steps.take(EMPIRICAL, dataset=data, size=9)
    log_prior = np.log(np.array([22, 5, 3]) / 30)

    def d_unimodal(unimodal):
        raised = {**unimodal, "left": unimodal["left"] + log_prior}  # enters every tuple's score once
        value, gradients = longhand.total_correlation(raised, step.y)
        expected = value + np.log(3) + log_prior[step.y].mean()
        assert step.logged["loss"] == pytest.approx(expected, rel=1e-12)
        return gradients

    gradients, unimodal = longhand.concat_gradients(step.before, step.x, d_unimodal)
    steps.close(step.gradients, gradients)
    probability = longhand.softmax(unimodal["left"] + unimodal["right"] + log_prior)
    cross_entropy = -np.log(probability[np.arange(9), step.y]).mean()
    assert step.logged["cross_entropy"] == pytest.approx(cross_entropy, rel=1e-12)


def test_assertion_15_the_reference_changes_predictions_on_imbalanced_classes_only():
    for make, same in ((balanced, True), (imbalanced, False)):
        uniform, empirical = trained(UNIFORM, make(), 5), trained(EMPIRICAL, make(), 5)
        one, other = longhand.softmax(uniform["joint"]), longhand.softmax(empirical["own"])
        assert np.allclose(one, other, atol=1e-12) is same
        assert np.array_equal(uniform["joint"].argmax(1), empirical["joint"].argmax(1)) is same


def test_assertion_15_leaving_the_prior_out_calls_rare_classes_too_often():
    """At the optimum f and f + log P are the posterior under equal class shares, and under those of the train part."""
    frequent = {}
    for label, variant, readout in (
        ("uniform", UNIFORM, "joint"),
        ("with prior", EMPIRICAL, "own"),
        ("without", EMPIRICAL, "joint"),
    ):
        frequent[label] = longhand.softmax(trained(variant, imbalanced(), 60)[readout])[:, 0].mean()
    assert frequent["without"] < frequent["with prior"] - 0.05
    assert frequent["with prior"] == pytest.approx(frequent["uniform"], abs=0.05)


@pytest.fixture
def scored(monkeypatch, tmp_path):
    """Two variants trained and scored; returns manifests by variant and the score frame."""
    monkeypatch.setitem(DATASETS.entries, "tiny", Entry(f"{__name__}:imbalanced"))
    experiment = tiny.experiment(variants={"uniform": UNIFORM, "empirical": EMPIRICAL}, seeds=[0])
    manifests = {v: jobs.train_block(experiment, Cell("tiny", 0, v), 0, tmp_path) for v in ("uniform", "empirical")}
    paths = [tmp_path / f"{name}.parquet" for name in ("items", "scores", "history")]
    score(list(manifests.values()), None, *paths)
    return manifests, parquet.read(paths[1], kinds.SCORES).to_pandas(), paths


def test_the_prior_reaches_the_scores_as_the_variants_own_read_out(scored):
    manifests, frame, _ = scored
    for variant, readout, shift in (("uniform", "joint", 0.0), ("empirical", "own", np.log(np.array([22, 5, 3]) / 30))):
        path = manifests[variant].parent / "seed_0" / "predictions_last.parquet"
        table = parquet.read(path, kinds.PREDICTIONS)
        assert parquet.header(path)["readout"] == readout
        assert ("logits_own" in table.column_names) == (readout == "own")
        test = table["split"].to_numpy(zero_copy_only=False) == "test"
        logits = (parquet.logits(table, "joint").astype(float) + shift)[test]
        labels = table["label"].to_numpy()[test]
        expected = {
            "accuracy": np.mean(logits.argmax(1) == labels),
            "nll": -np.log(longhand.softmax(logits)[np.arange(len(labels)), labels]).mean(),
        }
        rows = frame[(frame["variant"] == variant) & (frame["selection"] == "last") & (frame["readout"] == "own")]
        values = dict(zip(rows["metric"], rows["value"], strict=True))
        for metric, value in expected.items():
            assert values[metric] == pytest.approx(value, rel=1e-6), (variant, metric)
    assert set(frame[frame["variant"] == "uniform"]["readout"]) == set(
        frame[frame["variant"] == "empirical"]["readout"]
    )


def test_a_stored_read_out_that_the_header_does_not_name_is_refused(scored):
    manifests, _, paths = scored
    edit_predictions(manifests["empirical"], 0, "last", lambda columns, header: header.update(readout="joint"))
    with pytest.raises(TcmaxError, match="a modality may not be called 'own'"):
        score(list(manifests.values()), None, *paths)
    edit_predictions(manifests["uniform"], 0, "last", lambda columns, header: header.update(readout="own"))
    with pytest.raises(TcmaxError, match="its own read-out is 'own', which cannot be computed"):
        score([manifests["uniform"]], None, *paths)


def test_what_has_no_prior_is_refused():
    with pytest.raises(TcmaxError, match="label_reference: empirical needs every class among the train items"):
        steps.parts(EMPIRICAL, dataset=data_with([0] * 20 + [1] * 10))
    with pytest.raises(TcmaxError, match="the released TCMax knows the uniform label_reference only"):
        steps.parts({**EMPIRICAL, "fidelity": "release"}, dataset=imbalanced())


def test_the_prior_does_not_depend_on_validation_or_test_labels():
    one = steps.parts(EMPIRICAL, dataset=imbalanced())[1].class_log_prior
    plain = imbalanced()
    other_labels = np.concatenate([plain.labels[:30], 2 - plain.labels[30:]])
    other = steps.parts(EMPIRICAL, dataset=tiny.dataset(labels=other_labels, folds=plain.folds))[1].class_log_prior
    assert torch.equal(one, other)
    assert one.exp().sum().item() == pytest.approx(1)


def test_the_epochs_of_every_read_out_are_in_the_header(scored):
    manifests, _, _ = scored
    for variant, manifest in manifests.items():
        listed = read_json(manifest)["runs"][0]["files"]
        assert {"predictions_last", "predictions_best_val"} <= set(listed)
        epochs = parquet.header(manifest.parent / "seed_0" / "predictions_last.parquet")["epochs"]
        assert set(epochs) == {"left", "right", "joint"} | ({"own"} if variant == "empirical" else set())
