"""Bad input: one clear sentence that names the file, key or run, exit status 2, and earlier results untouched."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tcmax import cli
from tcmax.records import kinds
from tcmax.records.files import read_json, write_json

GOOD = """
name: tiny
title: Tiny
seeds: [0, 1]
seeds_per_job: 2
reference_variant: unimodal
training: {epochs: 1, batch_size: 64, learning_rate: 0.05}
datasets:
  digits-halves: {encoder: {name: mlp, hidden: [4]}}
variants:
  unimodal: {method: unimodal, head: sum}
  tcmax: {method: tcmax, head: concat}
"""
TRAIN = ["train", "tiny", "--dataset", "digits-halves", "--variant", "tcmax"]

Fails = Callable[..., str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config" / "claims").mkdir(parents=True)
    (tmp_path / "config" / "tiny.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TCMAX_DATA", raising=False)
    return tmp_path


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tcmax", *arguments])
        capsys.readouterr()
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def fails(call: Callable[..., tuple[int, str, str]]) -> Fails:
    """Run a command that must fail with one sentence; returns the sentence."""

    def run(*arguments: str) -> str:
        status, _, error = call(*arguments)
        lines = [line for line in error.splitlines() if line.startswith("tcmax: error: ")]
        assert status == 2, error
        assert len(lines) == 1, error
        assert "Traceback" not in error
        assert lines[0].endswith((".", "?")), lines[0]
        return lines[0]

    return run


def edit(project: Path, old: str, new: str) -> None:
    path = project / "config" / "tiny.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def snapshot(project: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (project / "results").rglob("*") if path.is_file()}


# Each row: what is edited in a good config, and what the sentence must say.
CONFIGS = {
    "an unknown key": ("title: Tiny", "title: Tiny\nseedz: 3", ["seedz", "unknown key"]),
    "an unknown nested key": ("epochs: 1", "epoch: 1", ["datasets.digits-halves.training|training", "epoch"]),
    "a missing key": ("title: Tiny\n", "", ["title", "missing"]),
    "a repeated key": ("title: Tiny", "title: Tiny\ntitle: Again", ["line", "'title' occurs twice"]),
    "text for a number": ("epochs: 1", "epochs: ten", ["training.epochs", "'ten'"]),
    "a fraction for a count": ("epochs: 1", "epochs: 1.5", ["training.epochs", "1.5"]),
    "no epochs": ("epochs: 1", "epochs: 0", ["training.epochs", "greater than or equal to 1"]),
    "a negative seed": ("[0, 1]", "[0, -1]", ["seeds", "greater than or equal to 0", "-1"]),
    "a seed listed twice": ("[0, 1]", "[1, 1]", ["seeds", "twice"]),
    "a malformed range of seeds": ("[0, 1]", '"0..4"', ["seeds", '"0-11"']),
    "no seeds": ("[0, 1]", "[]", ["seeds", "at least one"]),
    "an unknown method": ("method: tcmax", "method: tcmaxx", ["variants.tcmax.method", "did you mean 'tcmax'"]),
    "an unknown dataset": ("digits-halves:", "digit-halves:", ["datasets.digit-halves", "did you mean"]),
    "an unknown reference": ("reference_variant: unimodal", "reference_variant: uni", ["reference_variant", "'uni'"]),
    "a name that is no folder": ("  tcmax: {", "  ../tcmax: {", ["'../tcmax'", "letters"]),
    "another file name": ("name: tiny", "name: huge", ["'tiny'", "'huge'"]),
    "a rate of zero": ("learning_rate: 0.05", "learning_rate: 0", ["learning_rate", "greater than 0"]),
    "an unknown rule of selection": ("title: Tiny", "title: Tiny\nselection: best_test_oracle", ["selection"]),
    "ill-formed YAML": ("title: Tiny", "title: [Tiny", ["tiny.yaml", "line"]),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_with(name: str, project: Path, fails: Fails) -> None:
    old, new, expected = CONFIGS[name]
    edit(project, old, new)
    sentence = fails("plan", "tiny")
    assert "config/tiny.yaml" in sentence
    for pattern in expected:
        assert re.search(pattern if "|" in pattern else re.escape(pattern), sentence), sentence


# Found only when the named part is looked at: each has its own path through spec.py, switches.py or the registry.
PARTS = {
    "an unknown head": ("head: concat", "head: concatt", ["variants.tcmax.head", "did you mean 'concat'"]),
    "an unknown encoder": ("name: mlp", "name: mpl", ["datasets.digits-halves.encoder", "did you mean 'mlp'"]),
    "an unknown parameter": (
        "method: tcmax, head: concat",
        "method: tcmax, head: concat, parameters: {negative: 3}",
        ["variants.tcmax.parameters", "'negative'", "known: negatives"],
    ),
    "a parameter of the wrong type": (
        "method: tcmax, head: concat",
        "method: tcmax, head: concat, parameters: {negatives: many}",
        ["variants.tcmax.parameters.negatives", "'many'"],
    ),
    "a parameter out of range": (
        "method: tcmax, head: concat",
        "method: tcmax, head: concat, parameters: {negatives: -4}",
        ["variants.tcmax.parameters", "at least 1"],
    ),
    "an unknown switch": (
        "method: tcmax, head: concat",
        "method: tcmax, head: concat, switches: {tcmax.speed: true}",
        ["variants.tcmax.switches", "unknown switch 'tcmax.speed'"],
    ),
    "a switch of another method": (
        "method: tcmax, head: concat",
        "method: tcmax, head: concat, switches: {unimodal.joint_selection: true}",
        ["variants.tcmax.switches", "does not use"],
    ),
    "an impossible value of a switch": (
        "method: tcmax, head: concat",
        "method: tcmax, head: concat, switches: {tcmax.mean_shift: 3}",
        ["variants.tcmax.switches", "not 3"],
    ),
    "a parameter of an encoder out of range": (
        "hidden: [4]",
        "hidden: []",
        ["datasets.digits-halves.encoder", "width"],
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_variant_with(name: str, project: Path, fails: Fails) -> None:
    old, new, expected = PARTS[name]
    edit(project, old, new)
    sentence = fails(*TRAIN)
    for text in ["config/tiny.yaml", *expected]:
        assert text in sentence, sentence


def test_an_experiment_that_does_not_exist_lists_those_that_do(project: Path, fails: Fails) -> None:
    assert "experiments here: tiny" in fails("plan", "tinny")


def test_an_experiment_file_that_is_a_list(project: Path, fails: Fails) -> None:
    (project / "config" / "tiny.yaml").write_text("- 1\n- 2\n")
    assert "mapping" in fails("plan", "tiny")


def test_an_experiment_file_that_is_not_text(project: Path, fails: Fails) -> None:
    (project / "config" / "tiny.yaml").write_bytes(b"\xff\xfe\x00name")
    assert "UTF-8" in fails("plan", "tiny")


def test_a_variant_that_the_experiment_does_not_have(project: Path, fails: Fails) -> None:
    assert "known: unimodal, tcmax" in fails(*TRAIN[:-1], "tcmxa")


def test_a_dataset_that_the_experiment_does_not_have(project: Path, fails: Fails) -> None:
    assert "known: digits-halves" in fails("train", "tiny", "--dataset", "mnist", "--variant", "tcmax")


def test_a_block_beyond_the_seeds(project: Path, fails: Fails) -> None:
    assert "blocks 0..0, not 4" in fails(*TRAIN, "--block", "4")


def test_a_fold_beyond_the_protocol(project: Path, fails: Fails) -> None:
    assert "folds 0..0, not 2" in fails(*TRAIN, "--fold", "2")


def test_a_negative_block_is_refused_by_the_command_line(
    project: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, error = call(*TRAIN, "--block", "-1")
    assert status == 2
    assert "--block" in error


def test_a_method_that_cannot_train_this_model(project: Path, fails: Fails) -> None:
    edit(project, "method: tcmax, head: concat", "method: ogm, head: concat")
    assert "convolution" in fails(*TRAIN)


def test_an_encoder_that_does_not_fit_the_data(project: Path, fails: Fails) -> None:
    edit(project, "{name: mlp, hidden: [4]}", "{name: cnn, channels: [4]}")
    assert "encoder 'cnn' of 'left'" in fails(*TRAIN)


def test_a_modality_without_an_encoder(project: Path, fails: Fails) -> None:
    edit(project, "{encoder: {name: mlp, hidden: [4]}}", "{encoders: {left: {name: mlp, hidden: [4]}}}")
    assert "'right' has no encoder" in fails(*TRAIN)


def test_an_encoder_for_a_modality_that_is_not_there(project: Path, fails: Fails) -> None:
    edit(project, "{encoder: {name: mlp, hidden: [4]}}", "{encoder: {name: mlp}, encoders: {top: {name: mlp}}}")
    assert "no modality 'top'" in fails(*TRAIN)


def test_a_gpu_that_is_not_there(project: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    edit(project, "title: Tiny", "title: Tiny\ndevice: cuda")
    assert "no CUDA device" in fails(*TRAIN)


def test_a_dataset_without_its_data_root(project: Path, fails: Fails) -> None:
    edit(project, "digits-halves:", "av-digits:")
    assert "TCMAX_DATA" in fails("train", "tiny", "--dataset", "av-digits", "--variant", "tcmax")


def test_data_that_changed_since_it_was_prepared(project: Path, fails: Fails) -> None:
    write_json(project / "results/tiny/digits-halves/data.json", {"fingerprint": "another"})
    before = snapshot(project)
    assert "data.json" in fails(*TRAIN)
    assert snapshot(project) == before


@pytest.fixture
def trained(project: Path, call: Callable[..., tuple[int, str, str]]) -> Path:
    for variant in ("unimodal", "tcmax"):
        assert call(*TRAIN[:-1], variant)[0] == 0
    return project


def prediction(project: Path) -> Path:
    return project / "results/tiny/digits-halves/fold_0/tcmax/seed_1/predictions_last.parquet"


def resign(project: Path) -> None:
    """Let the manifest vouch for a tampered predictions file, so that only its content can give it away."""
    from tcmax.records.files import sha256

    manifest = project / "results/tiny/digits-halves/fold_0/tcmax/block_0.json"
    content = read_json(manifest)
    content["runs"][1]["files"]["predictions_last"]["sha256"] = sha256(prediction(project))
    write_json(manifest, content)


SCORE = ["score", "tiny", "--dataset", "digits-halves"]


def test_predictions_that_are_missing(trained: Path, fails: Fails) -> None:
    prediction(trained).unlink()
    before = snapshot(trained)
    assert "predictions_last.parquet" in fails(*SCORE)
    assert snapshot(trained) == before


def test_predictions_that_were_altered(trained: Path, fails: Fails) -> None:
    prediction(trained).write_bytes(prediction(trained).read_bytes()[:-1] + b"x")
    assert "predictions_last.parquet" in fails(*SCORE)


def test_predictions_that_are_no_parquet(trained: Path, fails: Fails) -> None:
    prediction(trained).write_bytes(b"PAR1 this is not a table PAR1")
    resign(trained)
    assert "damaged" in fails(*SCORE)


def test_predictions_cut_short(trained: Path, fails: Fails) -> None:
    content = prediction(trained).read_bytes()
    prediction(trained).write_bytes(content[: len(content) // 2])
    resign(trained)
    assert "damaged" in fails(*SCORE)


def test_predictions_of_an_older_schema(trained: Path, fails: Fails) -> None:
    table = pq.read_table(prediction(trained))
    pq.write_table(
        table.replace_schema_metadata({"tcmax": '{"kind": "predictions", "schema_version": 0}'}), prediction(trained)
    )
    resign(trained)
    sentence = fails(*SCORE)
    assert "schema version 0" in sentence
    assert f"version {kinds.SCHEMA_VERSION}" in sentence


def test_a_table_of_another_kind_where_predictions_belong(trained: Path, fails: Fails) -> None:
    shutil.copy(prediction(trained).with_name("history.parquet"), prediction(trained))
    resign(trained)
    assert "holds history, not predictions" in fails(*SCORE)


def test_a_manifest_that_is_missing(trained: Path, fails: Fails) -> None:
    (trained / "results/tiny/digits-halves/fold_0/tcmax/block_0.json").unlink()
    assert "block_0.json" in fails(*SCORE)


def test_a_manifest_that_is_damaged(trained: Path, fails: Fails) -> None:
    (trained / "results/tiny/digits-halves/fold_0/tcmax/block_0.json").write_text('{"runs": [')
    assert "not valid JSON" in fails(*SCORE)


def test_scores_of_a_dataset_that_is_not_in_the_experiment(project: Path, fails: Fails) -> None:
    assert "names digits-halves" in fails("score", "tiny", "--dataset", "mnist")


def test_a_comparison_before_the_scores(trained: Path, fails: Fails) -> None:
    assert "items.parquet" in fails("compare", "tiny")


def test_an_audit_without_claims(project: Path, fails: Fails) -> None:
    assert "names no claims file" in fails("audit", "claims", "tiny")


def test_an_audit_of_claims_that_are_not_there(project: Path, fails: Fails) -> None:
    assert "nowhere.yaml" in fails("audit", "claims", "tiny", "--claims", "nowhere.yaml")


def test_a_file_that_nobody_wrote(project: Path, fails: Fails) -> None:
    (project / "stray.txt").write_text("?")
    assert "not a result that tcmax wrote" in fails("why", "stray.txt")
    assert "does not exist" in fails("why", "results/none.parquet")


def test_an_unknown_dataset_to_describe(project: Path, fails: Fails) -> None:
    assert "unknown dataset" in fails("data", "info", "imagenet")


def test_an_unknown_command_names_itself(project: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    status, _, error = call("trian")
    assert status == 2
    assert "trian" in error


def test_a_full_disk_leaves_earlier_results(trained: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(trained, "epochs: 1", "epochs: 2")
    before = snapshot(trained)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    assert "no space left on the device" in fails(*TRAIN)
    after = snapshot(trained)
    assert {name: content for name, content in after.items() if not name.endswith("checkpoint.pt")} == before


def as_ordinary_user(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to which permissions apply: for root that takes giving up the capability to ignore them."""
    command = [sys.executable, "-m", "tcmax.cli", *arguments]
    if os.geteuid() == 0:
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120, check=False)


def take_away(path: Path, mode: int) -> None:
    """Let a path belong to somebody else, with these permissions."""
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    path.chmod(mode)


needs_setpriv = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="as root this needs setpriv (util-linux)"
)


@needs_setpriv
def test_a_folder_that_may_not_be_written(project: Path) -> None:
    (project / "results").mkdir()
    take_away(project / "results", 0o555)
    done = as_ordinary_user(project, "prepare", "digits-halves", "--experiment", "tiny")
    assert done.returncode == 2, done.stderr
    assert "permission denied" in done.stderr
    assert "results/tiny/digits-halves/data.json" in done.stderr
    assert list((project / "results").iterdir()) == []


@needs_setpriv
def test_a_file_that_may_not_be_read(project: Path) -> None:
    take_away(project / "config" / "tiny.yaml", 0o000)
    done = as_ordinary_user(project, "plan", "tiny")
    assert done.returncode == 2, done.stderr
    assert "cannot read config/tiny.yaml: permission denied" in done.stderr


def test_help_is_there_for_every_command(call: Callable[..., tuple[int, str, str]]) -> None:
    commands = ("plan", "prepare", "train", "score", "compare", "report", "why", "doctor")
    nested = (("data", "fetch"), ("data", "verify"), ("data", "list"), ("data", "info"), ("audit", "claims"))
    for command in (*((name,) for name in commands), *nested, ("audit", "published")):
        status, output, _ = call(*command, "--help")
        assert status == 0
        assert "Usage" in output


def test_help_and_version_load_no_torch() -> None:
    program = (
        "import sys; sys.argv = ['tcmax', '--help']\nfrom tcmax.cli import app\ntry: app()\nexcept SystemExit: pass\n"
    )
    program += "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0
