"""Jobs and schedulers killed hard: what is finished stays, what is not continues, and nobody writes twice."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from projects import TINY, contents, copy_project, environment, run, snakemake

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


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_moments_gives_the_same_bytes(tmp_path: Path, kills: int) -> None:
    whole, killed = copy_project(tmp_path / "whole"), copy_project(tmp_path / "killed")
    for project in (whole, killed):
        (project / "config" / "long.yaml").write_text(LONG)
    run(whole, *TRAIN)
    moments = random.Random(20)
    for _ in range(kills):
        process = start_training(killed)
        seen, steps = progress_of(killed), moments.randint(1, 6)
        deadline = time.monotonic() + 60
        while steps and process.poll() is None and time.monotonic() < deadline:
            now = progress_of(killed)
            steps, seen = (steps - 1, now) if now != seen else (steps, seen)
            time.sleep(0.002)
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
    variant, block = writing.parent.name, "1" if writing.name == "seed_8" else "0"  # whichever the scheduler began with
    again = ("tcmax", "train", "tiny", "--dataset", "digits-halves", "--variant", variant, "--block", block)
    orphan = int((writing / ".lock").read_text())
    try:
        os.kill(orphan, signal.SIGSTOP)  # the job outlived its scheduler; held here, so that it cannot end by itself
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
