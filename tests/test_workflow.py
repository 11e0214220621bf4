"""The whole DAG on a small experiment: what reruns, what does not, and that equal runs have equal bytes.

The project (package included) is copied to a temporary folder, so that code can be edited there.
"""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

TINY = """
name: tiny
title: Tiny
seeds: [3, 5, 8]
seeds_per_job: 2
checkpoint_seconds: 0
reference_variant: unimodal
claims: tiny.yaml
training: {epochs: 2, batch_size: 64, learning_rate: 0.05}
datasets:
  digits-halves: {encoder: {name: mlp, hidden: [8]}}
variants:
  unimodal: {method: unimodal, head: sum}
  ogm: {method: ogm, head: concat, parameters: {modulated: weights}}
  tcmax: {method: tcmax, head: concat}
"""

CLAIMS = """
claims:
  - id: tcmax-beats-unimodal
    text: TCMax beats the unimodal ensemble.
    source: {document: this test, section: "1"}
    origin: written before
    relation: greater
    subject: tcmax
    rivals: unimodal
    metric: accuracy
"""


def copy_project(folder: Path) -> Path:
    for name in ("tcmax", "workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "config" / "claims").mkdir(parents=True)
    (folder / "config" / "tiny.yaml").write_text(TINY)
    (folder / "config" / "claims" / "tiny.yaml").write_text(CLAIMS)
    return folder


def environment(project: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "OMP_NUM_THREADS": "1",
    }


def run(project: Path, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, cwd=project, env=environment(project), capture_output=True, text=True, timeout=900, check=False
    )
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def snakemake(project: Path, *arguments: str, check: bool = True) -> str:
    done = run(project, "snakemake", "--cores", "2", "--config", "experiment=tiny", *arguments, check=check)
    return done.stdout + done.stderr


def planned(project: Path) -> list[str]:
    """Jobs of a dry run, as "rule" or "rule variant block"."""
    output = snakemake(project, "--dry-run")
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule )", output)[1:]:
        rule = re.match(r"(?:local)?rule (\w+)", block)[1]  # type: ignore[index]
        wildcards = dict(re.findall(r"(\w+)=([^,\s]+)", (re.findall(r"wildcards: (.*)", block) or [""])[0]))
        jobs.append(" ".join([rule, *(wildcards[name] for name in ("variant", "block") if name in wildcards)]))
    return [job for job in jobs if job != "all"]


def trained(project: Path) -> list[str]:
    return [job for job in planned(project) if job.startswith("train")]


def contents(project: Path) -> dict[str, str]:
    """Hash of every result that must be reproducible; sidecars, logs and benchmarks tell of a run, not its result."""
    found = {}
    for root in ("results", "reports"):
        for path in sorted((project / root).rglob("*")):
            suffixes = (".parquet", ".csv", ".tex") if root == "reports" else (".parquet", ".json")
            if path.suffix not in suffixes or "log" in path.parts:
                continue
            if path.name == "sidecar.json" or path.name.endswith(".provenance.json"):
                continue
            found[str(path.relative_to(project))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the DAG has run once."""
    project = copy_project(tmp_path_factory.mktemp("finished"))
    snakemake(project)
    return project


@pytest.fixture
def edited(finished: Path) -> Iterator[Path]:
    """The finished project; files that a test changes are put back."""
    kept = {
        path: path.read_bytes()
        for part in ("tcmax", "config")
        for path in (finished / part).rglob("*")
        if path.is_file()
    }
    yield finished
    for path, content in kept.items():
        if path.is_file() and path.suffix != ".pyc" and path.read_bytes() != content:
            path.write_bytes(content)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new))


def test_a_finished_project_has_nothing_to_do(finished: Path) -> None:
    assert "Nothing to be done" in snakemake(finished, "--dry-run")


def test_comments_docstrings_and_layout_rerun_nothing(edited: Path) -> None:
    loop = edited / "tcmax" / "training" / "loop.py"
    replace(loop, '"""The training loop, shared by every method.', '"""The loop.')
    loop.write_text("# a new comment\n\n\n" + loop.read_text())
    scoring = edited / "tcmax" / "metrics" / "scoring.py"
    scoring.write_text("# another one\n" + scoring.read_text())
    assert planned(edited) == []


def test_report_code_reruns_the_report_only(edited: Path) -> None:
    build = edited / "tcmax" / "report" / "build.py"
    build.write_text(build.read_text() + "\n_EDITED = 1\n")
    assert planned(edited) == ["report"]


def test_a_hyperparameter_of_one_variant_retrains_that_variant(edited: Path) -> None:
    replace(edited / "config" / "tiny.yaml", "{modulated: weights}", "{modulated: weights, alpha: 0.5}")
    assert sorted(trained(edited)) == ["train ogm 0", "train ogm 1"]


def test_training_code_of_one_method_retrains_that_method(edited: Path) -> None:
    replace(edited / "tcmax" / "methods" / "ogm.py", "SMALLEST_SCORE = 1e-8", "SMALLEST_SCORE = 1e-7")
    assert sorted(trained(edited)) == ["train ogm 0", "train ogm 1"]


def test_the_shared_loop_retrains_everything(edited: Path) -> None:
    replace(edited / "tcmax" / "training" / "loop.py", "EVALUATION_BATCH = 1024", "EVALUATION_BATCH = 512")
    assert len(trained(edited)) == 6


def test_a_title_retrains_nothing(edited: Path) -> None:
    replace(edited / "config" / "tiny.yaml", "tcmax: {method", "tcmax: {title: Ours, method")
    assert trained(edited) == []
    assert "report" in planned(edited)


def test_claims_rerun_the_audit_and_the_report(edited: Path) -> None:
    replace(edited / "config" / "claims" / "tiny.yaml", "TCMax beats", "TCMax always beats")
    assert sorted(planned(edited)) == ["audit", "multiverse", "report"]


def test_adding_seeds_trains_the_new_ones_only(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "more-seeds"
    shutil.copytree(finished, project)
    before = {path: path.stat().st_mtime_ns for path in project.rglob("run.json")}
    replace(project / "config" / "tiny.yaml", "[3, 5, 8]", "[3, 5, 8, 13, 21]")
    assert sorted(trained(project)) == [
        f"train {name} {block}" for name in ("ogm", "tcmax", "unimodal") for block in (1, 2)
    ]
    snakemake(project)
    after = {path: path.stat().st_mtime_ns for path in project.rglob("run.json")}
    assert len(after) == len(before) * 5 // 3
    assert all(after[path] == stamp for path, stamp in before.items())


def test_two_runs_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    again = copy_project(tmp_path / "again")
    snakemake(again)
    first, second = contents(finished), contents(again)
    assert len(first) > 30
    assert {name for name in first if first[name] != second.get(name)} == set()
    assert set(first) == set(second)


def test_every_item_level_number_needs_the_predictions(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "no-predictions"
    shutil.copytree(finished, project)
    for path in project.rglob("predictions_*.parquet"):
        path.unlink()
    scored = run(project, "tcmax", "score", "tiny", "--dataset", "digits-halves", check=False)
    assert scored.returncode == 2
    assert "predictions" in scored.stderr
    (project / "results/tiny/digits-halves/items.parquet").unlink()
    compared = run(project, "tcmax", "compare", "tiny", check=False)
    assert compared.returncode == 2
    assert "items.parquet" in compared.stderr
    judged = run(project, "tcmax", "audit", "claims", "tiny", check=False)
    assert judged.returncode == 2


def test_the_workflow_report_is_written(finished: Path) -> None:
    snakemake(finished, "--report", "workflow-report.html")
    assert (finished / "workflow-report.html").stat().st_size > 100_000


def test_imported_results_flow_on_from_where_they_enter(tmp_path: Path) -> None:
    project = copy_project(tmp_path)
    rows = [f"a,{seed},c{i},{i % 2},{i % 3 > 0:d},{i % 2},0" for seed in range(3) for i in range(6)]
    (project / "runs.csv").write_text("\n".join(["model,run,clip,y,hit,z_0,z_1", *rows]))
    columns = "variant: model, seed: run, item: clip, label: y"
    of_items, of_logits = f"columns: {{{columns}, correct: hit}}", f"columns: {{{columns}}}\nlogits: {{joint: z_}}"
    for name, content in (("items", of_items), ("logits", of_logits)):
        mapping = project / f"{name}.yaml"
        mapping.write_text(f"name: {name}\nsource: a test\nfiles: runs.csv\ndataset: clips\n{content}\n")
        run(project, "tcmax", "import", str(mapping))
    wanted = [f"results/{name}/evidence.parquet" for name in ("items", "logits")]
    done = run(project, "snakemake", "--dry-run", "--cores", "1", "--config", "experiment=items", "--", *wanted)
    rules = re.findall(r"^(?:localrule|rule) (\w+):", done.stdout + done.stderr, re.M)
    assert sorted(rules) == ["compare", "compare", "score"]  # neither data nor training; scores where there are logits


def test_the_workflow_is_formatted() -> None:
    done = subprocess.run(
        [BIN / "snakefmt", "--check", "Snakefile", "workflow"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# Lints that are left standing, with the reason.
EXCUSED = {
    # One locked environment serves the whole project (requirements.lock); a second one per rule would drift from it.
    "No dependency management",
    "Specify a conda environment or container for each rule.",
}


def test_the_linter_has_no_finding_without_a_reason(finished: Path) -> None:
    done = run(finished, "snakemake", "--lint", "json", "--config", "experiment=tiny", check=False)
    start = done.stdout.find("{")
    found = json.loads(done.stdout[start:]) if start >= 0 else {"rules": [], "snakefiles": []}
    lints = [lint for group in (*found["rules"], *found["snakefiles"]) for lint in group["lints"]]
    assert [lint for lint in lints if lint["title"] not in EXCUSED] == []


LONG = TINY.replace("name: tiny", "name: long").replace("epochs: 2", "epochs: 40").replace("claims: tiny.yaml\n", "")
TRAIN = ("tcmax", "train", "long", "--dataset", "digits-halves", "--variant", "ogm", "--block", "0")


def start_training(project: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        TRAIN, cwd=project, env=environment(project), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def progress_of(project: Path) -> int:
    """Something that grows as training goes on: checkpoints and results written so far, by modification time."""
    files = [*project.glob("results/long/**/checkpoint.pt"), *project.glob("results/long/**/run.json")]
    return max((path.stat().st_mtime_ns for path in files), default=0)


def test_a_run_killed_at_ten_random_moments_gives_the_same_bytes(tmp_path: Path) -> None:
    whole, killed = copy_project(tmp_path / "whole"), copy_project(tmp_path / "killed")
    for project in (whole, killed):
        (project / "config" / "long.yaml").write_text(LONG)
    run(whole, *TRAIN)
    moments = random.Random(20)
    for _ in range(10):
        process = start_training(killed)
        seen, steps = progress_of(killed), moments.randint(1, 6)
        deadline = time.monotonic() + 60
        while steps and process.poll() is None and time.monotonic() < deadline:
            now = progress_of(killed)
            steps, seen = (steps - 1, now) if now != seen else (steps, seen)
        time.sleep(moments.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    run(killed, *TRAIN)
    assert not list(killed.glob("results/**/*.tmp"))
    assert not list(killed.glob("results/**/checkpoint.pt"))
    assert contents(killed) == contents(whole)
    resumed = [json.loads(path.read_text())["resumed_from_epoch"] for path in killed.rglob("sidecar.json")]
    assert max(resumed) > 0, "no run was ever continued from a checkpoint"


def test_after_a_killed_scheduler_no_second_writer_starts_and_the_way_back_works(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    (project / "config" / "tiny.yaml").write_text(TINY.replace("epochs: 2", "epochs: 400"))
    scheduler = subprocess.Popen(
        ["snakemake", "--cores", "1", "--config", "experiment=tiny", "--until", "train"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(project.glob("results/**/checkpoint.pt")):
        assert scheduler.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    writing = next(project.glob("results/**/checkpoint.pt")).parent
    scheduler.kill()
    scheduler.wait()
    variant = writing.parent.name
    again = ("tcmax", "train", "tiny", "--dataset", "digits-halves", "--variant", variant, "--block", "0")
    orphan = int((writing / ".lock").read_text())
    try:
        os.kill(orphan, 0)  # the job outlived its scheduler
        refused = run(project, *again, check=False)
        assert refused.returncode == 2
        assert f"is being written by process {orphan}" in refused.stderr
        assert "lock" in snakemake(project, check=False).lower()
    finally:
        os.kill(orphan, signal.SIGKILL)
    (project / "config" / "tiny.yaml").write_text(TINY)
    snakemake(project, "--unlock")
    snakemake(project)
    assert "Nothing to be done" in snakemake(project, "--dry-run")
