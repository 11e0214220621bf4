"""Training jobs: what is kept, what is trained again, and what a second writer is told."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Cell
from tcmax.records import kinds, parquet, provenance
from tcmax.records.files import read_json, sha256, write_json
from tcmax.records.locks import run_lock
from tcmax.training import checkpoint, datasets, jobs
from tcmax.training.jobs import train_block
from tcmax.training.loop import Runs

pytestmark = pytest.mark.usefixtures("installed_tiny")
JOINT = Cell("tiny", 0, "joint")
FOLDER = Path("tiny/tiny/fold_0/joint")


@pytest.fixture
def trained(monkeypatch):
    """The (variant, seed) of every run that is really trained."""
    seen = []
    train = Runs.train

    def count(run, after_epoch=None):
        seen.extend((run.spec.variant, seed) for seed in run.seeds)
        return train(run, after_epoch)

    monkeypatch.setattr(Runs, "train", count)
    return seen


def contents(folder):
    """Bytes of every file but the sidecars, which hold dates."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("sidecar.json", ".lock")
    }


def test_a_block_writes_its_runs_and_a_manifest_that_checks_them(tmp_path):
    manifest = train_block(tiny.experiment(), JOINT, 0, tmp_path)
    assert manifest == tmp_path / FOLDER / "block_0.json"
    content = read_json(manifest)
    assert [run["seed"] for run in content["runs"]] == [0, 1]
    for run in content["runs"]:
        assert (run["status"], run["epoch"]) == ("finished", None)
        names = {"predictions_last", "predictions_best_val", "predictions_best_test_oracle", "history"}
        assert set(run["files"]) == names
        for described in run["files"].values():
            assert sha256(manifest.parent / described["path"]) == described["sha256"]
    files = {path.name for path in (tmp_path / FOLDER / "seed_0").iterdir()}
    assert files == {
        "run.json",
        "sidecar.json",
        ".lock",
        "history.parquet",
        *(f"{name}.parquet" for name in names - {"history"}),
    }


def test_predictions_hold_every_val_and_test_item_with_labels_groups_and_provenance(tmp_path):
    train_block(tiny.experiment(), JOINT, 0, tmp_path)
    path = tmp_path / FOLDER / "seed_1" / "predictions_best_val.parquet"
    table, data = parquet.read(path, kinds.PREDICTIONS), tiny.dataset()
    fold = data.folds[0]
    rows = np.concatenate([fold.val, fold.test])
    assert table.column("item").to_pylist() == data.items[rows].tolist()
    assert table.column("label").to_pylist() == data.labels[rows].tolist()
    assert table.column("group_speaker").to_pylist() == data.groups["speaker"][rows].tolist()
    assert table.column("split").to_pylist() == ["val"] * 12 + ["test"] * 13
    assert parquet.readouts(table) == ["left", "right", "joint"]
    record = read_json(path.parent / "run.json")
    assert set(table.column("run_key").to_pylist()) == {record["run_key"]}
    header = parquet.header(path)
    assert (header["selection"], header["readout"]) == ("best_val", "joint")
    assert header["classes"] == ["class 0", "class 1", "class 2"]
    assert set(header["epochs"]) == {"left", "right", "joint"}
    accuracy = np.mean(parquet.logits(table, "joint")[:12].argmax(1) == data.labels[fold.val])
    history = parquet.read(path.parent / "history.parquet", kinds.HISTORY).to_pylist()
    best = [row["value"] for row in history if row["quantity"] == "accuracy.val.own"]
    assert accuracy == max(best)


def test_equal_runs_have_equal_bytes(tmp_path):
    for label in tiny.VARIANTS:
        for folder in ("one", "two"):
            train_block(tiny.experiment(), Cell("tiny", 0, label), 0, tmp_path / folder)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_seeds_bytes_do_not_depend_on_its_block(tmp_path, monkeypatch):
    """At sizes of whole cache lines; at others a matrix product may round by where in memory its factors start."""
    data = tiny.dataset({"left": (16,), "right": (32,)}, train=32, n_classes=4)
    monkeypatch.setattr(jobs, "load_dataset", lambda *_: data)
    sizes = {"datasets": {"tiny": {"encoder": {"name": "mlp", "hidden": [16]}}}}
    sizes["training"] = tiny.training(batch_size=16)
    sizes["variants"] = {**tiny.VARIANTS, "agm": {"method": "agm"}}  # which encodes a single row, of zeros
    together = tiny.experiment(seeds=[4, 1, 7], seeds_per_job=3, **sizes)
    apart = tiny.experiment(seeds=[4, 1, 7], seeds_per_job=1, **sizes)
    for label in ("ogm-ge", "tcmax", "agm"):
        cell = Cell("tiny", 0, label)
        train_block(together, cell, 0, tmp_path / "together")
        for block in (2, 0):  # in another order, and without the second
            train_block(apart, cell, block, tmp_path / "apart")
        for seed in (4, 7):
            folder = Path(f"tiny/tiny/fold_0/{label}/seed_{seed}")
            one, other = tmp_path / "together" / folder, tmp_path / "apart" / folder
            last = [parquet.read(path / "predictions_last.parquet", kinds.PREDICTIONS) for path in (one, other)]
            np.testing.assert_allclose(*(parquet.logits(table, "joint") for table in last), atol=1e-4)
            if contents(one) != contents(other):
                pytest.skip("on this machine a matrix product rounds by where in memory its factors start")


def test_finished_runs_are_kept(tmp_path, trained):
    train_block(tiny.experiment(), JOINT, 0, tmp_path)
    before = contents(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    train_block(tiny.experiment(), JOINT, 0, tmp_path)
    assert trained == [("joint", 0), ("joint", 1)]
    assert contents(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_adding_seeds_trains_only_the_new_ones(tmp_path, trained):
    train_block(tiny.experiment(), JOINT, 0, tmp_path)
    train_block(tiny.experiment(seeds=[5, 0, 1, 2], seeds_per_job=4), JOINT, 0, tmp_path)
    assert trained == [("joint", 0), ("joint", 1), ("joint", 5), ("joint", 2)]
    assert [run["seed"] for run in read_json(tmp_path / FOLDER / "block_0.json")["runs"]] == [5, 0, 1, 2]


@pytest.mark.parametrize("damage", ["altered", "truncated", "missing", "record", "history"])
def test_a_run_whose_files_changed_is_trained_again_and_the_others_are_not(tmp_path, trained, damage):
    train_block(tiny.experiment(), JOINT, 0, tmp_path)
    before = contents(tmp_path)
    folder = tmp_path / FOLDER / "seed_1"
    path = folder / {"record": "run.json", "history": "history.parquet"}.get(damage, "predictions_last.parquet")
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage in ("truncated", "record"):
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(content[:-30] + b"\xff" + content[-29:])
    train_block(tiny.experiment(), JOINT, 0, tmp_path)
    assert trained[2:] == [("joint", 1)]
    assert contents(tmp_path) == before


def ogm(alpha):
    return {"method": "ogm", "parameters": {"modulated": "weights", "alpha": alpha}}


def test_a_changed_parameter_trains_that_variant_again_and_no_other(tmp_path, trained):
    variants = {"joint": {"method": "joint"}, "ogm": ogm(0.8)}
    for alpha in (0.8, 0.5):
        experiment = tiny.experiment(seeds=[0], variants={**variants, "ogm": ogm(alpha)})
        for label in variants:
            train_block(experiment, Cell("tiny", 0, label), 0, tmp_path)
    assert trained == [("joint", 0), ("ogm", 0), ("ogm", 0)]


def key(dataset=None, cell=JOINT, seed=0, **changes):
    dataset = dataset or tiny.dataset()
    context = jobs.context_of(tiny.experiment(**changes), cell, dataset, dataset.fingerprint(), Path("results"))
    return context.run_key(seed)


def test_everything_that_changes_the_numbers_is_in_the_run_key(monkeypatch):
    data = tiny.dataset()
    altered = data.inputs["left"].copy()
    altered[0, 0] += 1
    variants = tiny.VARIANTS
    changed = {
        "seed": key(seed=1),
        "data": key(tiny.dataset(inputs={**data.inputs, "left": altered})),
        "variant": key(cell=Cell("tiny", 0, "tcmax")),
        "precision": key(precision="float64"),
        "stored precision": key(half_precision_logits=True),
        "encoder": key(datasets={"tiny": {"encoder": {"name": "mlp", "hidden": [5]}}}),
        "own training": key(datasets={"tiny": {"encoder": {"name": "mlp", "hidden": [4]}, "training": {"epochs": 6}}}),
        "head": key(variants={**variants, "joint": {"method": "joint", "head": "sum"}}),
        "code": key(pin_code="v1"),
        **{name: key(training=tiny.training(**{name: value})) for name, value in TRAINING.items()},
    }
    keys, block = [key(), *changed.values()], jobs.block_key(tiny.experiment(), JOINT, 0)
    monkeypatch.setenv("TCMAX_ARITHMETIC", "native")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    assert block != jobs.block_key(tiny.experiment(), JOINT, 0)


TRAINING = {
    "epochs": 5,
    "batch_size": 9,
    "learning_rate": 0.2,
    "momentum": 0.8,
    "weight_decay": 0.0,
    "lr_drop_epochs": [2],
    "lr_drop_factor": 0.2,
}


def test_what_changes_no_number_is_not_in_the_run_key():
    same = [
        key(seeds=[0, 1, 2], seeds_per_job=1),
        key(title="Another", selection="best_val", checkpoint_seconds=0.0, claims="c.yaml", reference_variant="tcmax"),
        key(variants={"joint": {**tiny.VARIANTS["joint"], "title": "Joint", "family": "CE"}}),
        key(datasets={"tiny": {"encoder": {"name": "MLP", "hidden": [4]}, "title": "T", "variants": ["joint"]}}),
        key(device="cuda"),
    ]
    assert set(same) == {key()}


def test_the_blocks_key_follows_its_seeds_settings_and_code_but_no_title():
    def of(block=0, **changes):
        return jobs.block_key(tiny.experiment(**changes), JOINT, block)

    plain = of()
    titled = {"joint": {**tiny.VARIANTS["joint"], "title": "J"}}
    assert of(title="X", variants=titled) == plain == of(seeds=[0, 1, 2])
    others = [
        of(seeds=[0, 2]),
        of(seeds=[0, 1, 2], block=1),
        of(training=tiny.training(epochs=5)),
        of(precision="float64"),
        of(pin_code="v1"),
        of(variants={"joint": {"method": "joint", "head": "sum"}}),
    ]
    assert len({plain, *others}) == len(others) + 1


def test_a_pinned_code_fingerprint_stands_for_all_code():
    experiment = tiny.experiment(pin_code="frozen")
    assert jobs.code_of(experiment, "tiny", "joint") == {"pinned": "frozen"}


def test_a_diverged_run_is_finished_without_predictions_and_is_kept(tmp_path, trained):
    experiment = tiny.experiment(seeds=[0], training=tiny.training(learning_rate=1e30))
    manifest = train_block(experiment, JOINT, 0, tmp_path)
    (run,) = read_json(manifest)["runs"]
    assert (run["status"], run["epoch"], set(run["files"])) == ("diverged", 0, {"history"})
    assert not list(manifest.parent.rglob("predictions_*"))
    train_block(experiment, JOINT, 0, tmp_path)
    assert len(trained) == 1


def test_predictions_of_earlier_settings_do_not_outlive_a_diverged_run(tmp_path):
    train_block(tiny.experiment(seeds=[0]), JOINT, 0, tmp_path)
    experiment = tiny.experiment(seeds=[0], training=tiny.training(learning_rate=1e30))
    train_block(experiment, JOINT, 0, tmp_path)
    assert not list(tmp_path.rglob("predictions_*"))


class Killed(BaseException):
    pass


CNN = {"tiny": {"encoder": {"name": "cnn", "channels": [2]}}}
IMAGES = {"left": (1, 4, 4), "right": (2, 4, 4)}


def killed_after_three_epochs(experiment, cell, results, monkeypatch, done=0):
    """Train a block of four epochs until `done` runs are finished and the next ones are in their fourth epoch."""
    within = jobs.ProgressLine.within

    def die(progress, share):
        if progress.done == done and share % 1 in (0.75, 0.5) and share > 0.5:  # 0.75 of one run, 1.5 of two
            raise Killed
        within(progress, share)

    with monkeypatch.context() as patch:
        patch.setattr(jobs.ProgressLine, "within", die)
        with pytest.raises(Killed):
            train_block(experiment, cell, 0, results)


def resumed(folder):
    return [read_json(folder / f"seed_{seed}" / "sidecar.json")["resumed_from_epoch"] for seed in (0, 1)]


def test_killed_runs_continue_from_their_checkpoints_to_the_same_bytes(tmp_path, monkeypatch):
    experiment = tiny.experiment(checkpoint_seconds=0)
    cell = Cell("tiny", 0, "ogm-ge")
    train_block(experiment, cell, 0, tmp_path / "whole")
    killed_after_three_epochs(experiment, cell, tmp_path / "killed", monkeypatch)
    folder = tmp_path / "killed" / "tiny/tiny/fold_0/ogm-ge"
    assert {path.parent.name for path in folder.rglob("checkpoint.pt")} == {"seed_0", "seed_1"}
    assert not list(folder.rglob("*.json"))
    (folder / "seed_1" / ".predictions_last.parquet.abc.tmp").write_text("left by a killed writer")
    train_block(experiment, cell, 0, tmp_path / "killed")
    assert resumed(folder) == [3, 3]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_of_runs_trained_one_after_another_a_killed_job_keeps_the_finished_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "load_dataset", lambda *_: tiny.dataset(IMAGES))
    experiment = tiny.experiment(checkpoint_seconds=0, datasets=CNN)
    train_block(experiment, JOINT, 0, tmp_path / "whole")
    killed_after_three_epochs(experiment, JOINT, tmp_path / "killed", monkeypatch, done=1)
    folder = tmp_path / "killed" / FOLDER
    assert (folder / "seed_0" / "run.json").is_file()
    assert (folder / "seed_1" / "checkpoint.pt").is_file()
    assert not (folder / "block_0.json").exists()
    train_block(experiment, JOINT, 0, tmp_path / "killed")
    assert resumed(folder) == [0, 3]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_seeds_side_by_side_share_the_time_they_took(tmp_path, monkeypatch):
    clock = iter([10.0, 16.0])
    monkeypatch.setattr(jobs, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    train_block(tiny.experiment(), JOINT, 0, tmp_path)
    sidecars = [read_json(tmp_path / FOLDER / f"seed_{seed}" / "sidecar.json") for seed in (0, 1)]
    assert [(sidecar["seconds"], sidecar["seeds_together"]) for sidecar in sidecars] == [(3.0, 2), (3.0, 2)]


def test_runs_whose_checkpoints_are_of_different_epochs_continue_apart(tmp_path, monkeypatch, trained):
    """As when a job dies between two checkpoints that it writes."""
    experiment = tiny.experiment(checkpoint_seconds=0)
    train_block(experiment, JOINT, 0, tmp_path / "whole")
    killed_after_three_epochs(experiment, JOINT, tmp_path / "killed", monkeypatch)
    folder = tmp_path / "killed" / FOLDER
    (folder / "seed_0" / "checkpoint.pt").unlink()
    trained.clear()
    train_block(experiment, JOINT, 0, tmp_path / "killed")
    assert trained == [("joint", 0), ("joint", 1)]
    assert resumed(folder) == [0, 3]
    together = [read_json(folder / f"seed_{seed}" / "sidecar.json")["seeds_together"] for seed in (0, 1)]
    assert together == [1, 1]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path, monkeypatch):
    old = tiny.experiment(seeds=[0], checkpoint_seconds=0, training=tiny.training(learning_rate=0.5))
    kept = []
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda path, *run: (save(path, *run), kept.append(path.read_bytes())))
    train_block(old, JOINT, 0, tmp_path / "old")
    new = tiny.experiment(seeds=[0])
    train_block(new, JOINT, 0, tmp_path / "clean")
    folder = tmp_path / "new" / FOLDER / "seed_0"
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(kept[1])
    train_block(new, JOINT, 0, tmp_path / "new")
    assert read_json(folder / "sidecar.json")["resumed_from_epoch"] == 0
    assert contents(tmp_path / "new") == contents(tmp_path / "clean")


def hold(folder, ready):
    """Hold a run's lock in another process until that is killed."""
    with run_lock(Path(folder)):
        ready.send(True)
        time.sleep(600)


@pytest.fixture
def holder(tmp_path):
    """The folder of a run whose lock another process holds, and that process."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    folder = tmp_path / FOLDER / "seed_0"
    process = context.Process(target=hold, args=(str(folder), there), daemon=True)
    process.start()
    assert here.poll(60)
    yield folder, process
    process.kill()
    process.join()


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path, holder, trained):
    folder, process = holder
    with pytest.raises(TcmaxError, match=f"{folder} is being written by process {process.pid}; wait for it, or end it"):
        train_block(tiny.experiment(), JOINT, 0, tmp_path)
    assert trained == []
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_the_lock_dies_with_its_process(tmp_path, holder):
    folder, process = holder
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (folder / ".lock").read_text() == str(process.pid)  # the file stays, the lock does not
    train_block(tiny.experiment(), JOINT, 0, tmp_path)
    assert (folder / ".lock").read_text() == ""  # released


def test_other_runs_of_the_block_are_not_locked(tmp_path, holder):
    folder, _ = holder
    with run_lock(folder.with_name("seed_1")):
        pass
    start = time.monotonic()
    with pytest.raises(TcmaxError), run_lock(folder):
        pass
    assert time.monotonic() - start < 5  # refused, not waited for


def test_an_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(TcmaxError, match=r"cannot write .*: a part of the path is a file, not a folder"):
        train_block(tiny.experiment(), JOINT, 0, tmp_path / "results")


@pytest.mark.parametrize(
    ("cell", "block", "sentence"),
    [
        (JOINT, 1, r"tiny has blocks 0\.\.0, not 1\."),
        (JOINT, -1, r"tiny has blocks 0\.\.0, not -1\."),
        (Cell("tiny", 0, "nobody"), 0, "there is no variant 'nobody'; known: joint, ogm-ge"),
        (Cell("elsewhere", 0, "joint"), 0, "there is no dataset 'elsewhere'; known: tiny"),
        (Cell("tiny", 2, "joint"), 0, r"tiny has folds 0\.\.0, not 2\."),
    ],
)
def test_a_cell_outside_the_grid_is_refused(tmp_path, cell, block, sentence):
    with pytest.raises(TcmaxError, match=sentence):
        train_block(tiny.experiment(), cell, block, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_logits_are_stored_in_half_precision_where_asked_for_or_where_classes_are_many(tmp_path):
    train_block(tiny.experiment(seeds=[0], half_precision_logits=True), JOINT, 0, tmp_path / "asked")
    train_block(tiny.experiment(seeds=[0]), JOINT, 0, tmp_path / "plain")
    tables = [
        parquet.read(tmp_path / name / FOLDER / "seed_0" / "predictions_last.parquet", kinds.PREDICTIONS)
        for name in ("asked", "plain")
    ]
    half, plain = (table.schema.field("logits_joint").type.value_type for table in tables)
    assert (str(half), str(plain)) == ("halffloat", "float")
    np.testing.assert_array_equal(
        parquet.logits(tables[0], "joint"), parquet.logits(tables[1], "joint").astype("f2").astype("f4")
    )
    assert jobs._storable(np.array([1e9, -1e9, 1.5]), np.float16).tolist() == [65504, -65504, 1.5]


def test_preparing_writes_the_facts_of_the_data(tmp_path):
    path = datasets.prepare(tiny.experiment(), "tiny", tmp_path)
    assert path == tmp_path / "tiny" / "tiny" / "data.json"
    facts = read_json(path)
    assert facts["fingerprint"] == tiny.dataset().fingerprint()
    assert facts["folds"] == [{"train": 26, "val": 12, "test": 13}]
    assert (facts["n_items"], facts["n_classes"], facts["groups"]) == (51, 3, {"speaker": 4})
    assert facts["modalities"] == {"left": [3], "right": [2]}


def test_another_number_of_folds_than_the_grid_has_is_refused(tmp_path):
    options = {"tiny": {"encoder": {"name": "mlp"}, "folds": 3}}
    with pytest.raises(TcmaxError, match=r"tiny has 1 folds, not 3: set datasets\.tiny\.folds to 1"):
        datasets.prepare(tiny.experiment(datasets=options), "tiny", tmp_path)


def test_data_that_changed_since_it_was_prepared_stops_the_job(tmp_path, trained):
    path = datasets.prepare(tiny.experiment(), "tiny", tmp_path)
    write_json(path, {**read_json(path), "fingerprint": "0" * 64})
    with pytest.raises(TcmaxError, match=r"data\.json describes other data than is loaded now; run `tcmax prepare`"):
        train_block(tiny.experiment(), JOINT, 0, tmp_path)
    assert trained == []


def test_every_run_says_what_produced_it(tmp_path):
    train_block(tiny.experiment(seeds=[0]), JOINT, 0, tmp_path)
    folder = tmp_path / FOLDER / "seed_0"
    record, sidecar = read_json(folder / "run.json"), read_json(folder / "sidecar.json")
    assert record["data"] == tiny.dataset().fingerprint()
    assert record["settings"]["training"]["learning_rate"] == 0.1
    assert {"tcmax.methods.joint", "tcmax.training.loop", "tcmax.models.encoders.mlp", "tiny"} <= set(record["code"])
    assert record["facts"]["parameters"] == {"left": 16, "right": 12, "head": 27}
    assert sidecar["versions"] == provenance.versions()
    assert sidecar["device"] == "cpu"
    assert sidecar["seconds"] >= 0
    assert sidecar["peak_memory_mib"] > 10
    dated = json.dumps(record)
    assert sidecar["started"] not in dated
    assert sidecar["hardware"]["processor"] not in dated


def test_the_claims_file_is_remembered_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    claims = tmp_path / "config" / "claims" / "c.yaml"
    experiment = tiny.experiment(seeds=[0], claims="c.yaml")
    train_block(experiment, JOINT, 0, tmp_path)
    assert read_json(tmp_path / FOLDER / "seed_0" / "sidecar.json")["claims_sha256"] is None
    claims.parent.mkdir(parents=True)
    claims.write_text("claims: []\n")
    shutil.rmtree(tmp_path / FOLDER)
    train_block(experiment, JOINT, 0, tmp_path)
    assert read_json(tmp_path / FOLDER / "seed_0" / "sidecar.json")["claims_sha256"] == sha256(claims)


def test_an_alias_trains_to_the_bytes_and_the_keys_of_its_id(tmp_path):
    digits = {"encoder": {"name": "mlp", "hidden": [4]}, "training": {"epochs": 1}}
    written = {}
    for name, head in (("law-xor", "concat"), ("XOR", "Concat")):
        experiment = tiny.experiment(
            datasets={name: digits}, variants={"v": {"method": "joint", "head": head}}, seeds=[1]
        )
        cell = Cell(name, 0, "v")
        manifest = train_block(experiment, cell, 0, tmp_path)
        folder = manifest.parent / "seed_1"
        table = parquet.read(folder / "predictions_last.parquet", kinds.PREDICTIONS)
        record = read_json(folder / "run.json")
        written[name] = record["run_key"], jobs.block_key(experiment, cell, 0), parquet.logits(table, "joint").tobytes()
    assert written["law-xor"] == written["XOR"]
