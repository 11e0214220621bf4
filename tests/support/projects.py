"""A copy of the project in a temporary folder, in which the DAG runs and code can be edited; and what came of it."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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
    done = run(project, "snakemake", "--cores", "2", *arguments, "--config", "experiment=tiny", check=check)
    return done.stdout + done.stderr


def planned(project: Path, *targets: str) -> list[str]:
    """Jobs of a dry run, as "rule" or "rule variant block"."""
    output = snakemake(project, "--dry-run", *targets)
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
