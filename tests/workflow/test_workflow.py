"""The whole DAG on a small experiment: what reruns, what does not, and that equal runs have equal bytes.

The project (package included) is copied to a temporary folder, so that code can be edited there.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from projects import BIN, ROOT, contents, copy_project, planned, run, snakemake, trained


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
    replace(edited / "tcmax" / "training" / "loading.py", "PASS_ITEMS = 512", "PASS_ITEMS = 256")
    assert len(trained(edited)) == 6


def test_a_title_retrains_nothing(edited: Path) -> None:
    replace(edited / "config" / "tiny.yaml", "tcmax: {method", "tcmax: {title: Ours, method")
    assert trained(edited) == []
    assert "report" in planned(edited)


def test_claims_rerun_the_audit_and_the_report(edited: Path) -> None:
    replace(edited / "config" / "claims" / "tiny.yaml", "TCMax beats", "TCMax always beats")
    assert sorted(planned(edited)) == ["audit", "multiverse", "report"]


def test_adding_seeds_trains_the_new_ones_only_and_ends_in_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "fewer-seeds")
    config = project / "config" / "tiny.yaml"
    replace(config, "[3, 5, 8]", "[3, 5]")
    snakemake(project, "--until", "train")
    before = {path: path.stat().st_mtime_ns for path in project.rglob("run.json")}
    assert len(before) == 6
    replace(config, "[3, 5]", "[3, 5, 8]")
    assert sorted(trained(project)) == ["train ogm 1", "train tcmax 1", "train unimodal 1"]
    snakemake(project)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    first, second = contents(finished), contents(project)
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
