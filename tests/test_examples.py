"""The example package: installed beside tcmax without network, it adds a method and a dataset by entry points alone."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from projects import ROOT

from tcmax import registry
from tcmax.errors import TcmaxError
from tcmax.methods import METHODS
from tcmax.records import kinds, parquet, provenance
from tcmax.records.files import read_json

EXAMPLE = ROOT / "examples" / "tcmax-circle"
COMMANDS = """
import sys
from tcmax.cli import app
for command in (
    ["data", "info", "circle"],
    ["prepare", "circle", "--experiment", "circle"],
    ["train", "circle", "--dataset", "circle", "--variant", "joint"],
    ["train", "circle", "--dataset", "circle", "--variant", "agreement"],
    ["score", "circle", "--dataset", "circle"],
):
    app(command, standalone_mode=False)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed in it, from a copy: a build leaves files beside its source."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source")
    target = folder / "site"
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *offline, "--target", target, source]
    subprocess.run(command, check=True, capture_output=True)
    return target


def run(site: Path, project: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def test_an_installed_package_adds_a_method_and_a_dataset(site: Path, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    shutil.copy(EXAMPLE / "circle.yaml", tmp_path / "config")
    done = run(site, tmp_path, COMMANDS)
    assert done.returncode == 0, done.stderr
    assert "circle: Points on a circle, seen twice" in done.stdout
    results = tmp_path / "results" / "circle" / "circle"
    scores = parquet.read(results / "scores.parquet", kinds.SCORES).to_pandas()
    joint = scores[(scores["metric"] == "accuracy") & (scores["readout"] == "own") & (scores["selection"] == "last")]
    assert joint.groupby("variant", observed=True).size().to_dict() == {"agreement": 3, "joint": 3}
    assert joint["value"].min() > 0.4  # four classes
    history = parquet.read(results / "history.parquet", kinds.HISTORY).to_pandas()
    assert set(history[history["quantity"] == "penalty"]["variant"]) == {"agreement"}
    code = read_json(results / "fold_0" / "agreement" / "seed_0" / "run.json")["code"]
    assert {"tcmax_circle.agreement", "tcmax_circle.circle", "tcmax.training.loop"} <= set(code)
    joint_code = read_json(results / "fold_0" / "joint" / "seed_0" / "run.json")["code"]
    assert "tcmax_circle.agreement" not in joint_code


def test_without_the_package_its_names_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    shutil.copy(EXAMPLE / "circle.yaml", tmp_path / "config")
    done = run(tmp_path, tmp_path, "from tcmax.experiment.grid import load; load('circle')")
    assert done.returncode == 1
    assert "datasets.circle: unknown dataset 'circle'" in done.stderr


@pytest.mark.parametrize(("page", "module"), [("add-a-method.md", "agreement"), ("add-a-dataset.md", "circle")])
def test_the_pages_show_the_code_that_is_tested(page: str, module: str) -> None:
    shown = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    where, code = shown.split("\n", 1)
    assert where.endswith(f"/{module}.py")
    assert code == (EXAMPLE / "tcmax_circle" / f"{module}.py").read_text(encoding="utf-8")


def test_the_key_follows_imports_inside_another_package_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "outside"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "method.py").write_text("raise RuntimeError('imported')\nfrom .parts import gate\nimport json\n")
    (package / "parts" / "__init__.py").write_text("from . import base\n")
    (package / "parts" / "gate.py").write_text("from ..rates import RATE\n")
    (package / "parts" / "base.py").write_text("")
    (package / "rates.py").write_text("RATE = 1\n")
    (package / "unused.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    before = provenance.training_code(["outside.method"])
    inside = {module for module in before if module.startswith("outside")}
    assert inside == {f"outside.{name}" for name in ("method", "parts", "parts.base", "parts.gate", "rates")}
    assert "outside" not in sys.modules
    (package / "rates.py").write_text("RATE = 2\n")
    for cached in (provenance._source, provenance._tree, provenance._imports, provenance.code_hash):
        cached.cache_clear()
    after = provenance.training_code(["outside.method"])
    assert {module for module in before if before[module] != after[module]} == {"outside.rates"}


def declare(monkeypatch: pytest.MonkeyPatch, *targets: str) -> None:
    points = [EntryPoint("outsider", target, "tcmax.methods") for target in targets]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "tcmax.methods" else [])


@pytest.mark.parametrize("target", ["no_such_package:Method", "tcmax.methods.joint:NoSuchMethod"])
def test_a_broken_entry_point_is_one_sentence(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    declare(monkeypatch, target)
    with pytest.raises(TcmaxError, match=f"the method 'outsider' is declared as {target}, which fails"):
        METHODS.load("outsider")


def test_two_packages_that_declare_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, "one.package:Method", "another.package:Method")
    with pytest.raises(TcmaxError, match="two installed packages declare the method 'outsider'"):
        METHODS.canonical("outsider")
    assert METHODS.canonical("joint") == "joint"
    declare(monkeypatch, "one.package:Method", "one.package:Method")  # one package found twice on the path
    assert METHODS.target("outsider") == "one.package:Method"
