"""Pages that are written from code are those that the code writes now."""

import dataclasses
import importlib.util
import re
from types import ModuleType

import pytest
from projects import ROOT
from small_report import experiment_in, write_records

from tcmax.experiment.settings import (
    DatasetSettings,
    ExperimentSettings,
    TrainingSettings,
    TuningSettings,
    VariantSettings,
)
from tcmax.experiment.switches import SWITCHES
from tcmax.methods import METHODS
from tcmax.models.encoders import ENCODERS
from tcmax.models.fusion import HEADS
from tcmax.report import build as build_module
from tcmax.report.report_records import ReportRecords

DOCS = ROOT / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def build() -> ModuleType:
    return script("build")


@pytest.fixture(scope="module")
def house() -> ModuleType:
    return script("house")


@pytest.fixture(scope="module")
def methods_page() -> str:
    return (DOCS / "methods.md").read_text(encoding="utf-8")


def test_the_page_of_methods_is_what_the_code_says(build: ModuleType, methods_page: str) -> None:
    assert build.page() == methods_page, "docs/methods.md is stale: run `make docs`"


def test_every_method_head_and_switch_is_on_the_page_once(methods_page: str) -> None:
    for table in (METHODS, HEADS):
        for name, entry in table.entries.items():
            assert methods_page.count(f'<a id="{name}"></a>') == 1
            (row,) = re.findall(rf"^\| `{re.escape(name)}` \| .*", methods_page, flags=re.MULTILINE)
            assert all(alias in row for alias in entry.aliases)
    for name, switch in SWITCHES.items():
        rows = re.findall(rf"^\| `{re.escape(name)}` \| .*", methods_page, flags=re.MULTILINE)
        assert len(rows) >= 1, name
        values = " | ".join(f"`{str(value).lower()}`" for value in (switch.reference, switch.original, switch.release))
        assert all(row.endswith(f"| {values} |") for row in rows)


@pytest.mark.parametrize("table", [METHODS, HEADS], ids=["methods", "heads"])
def test_every_parameter_is_described(build: ModuleType, table) -> None:  # type: ignore[no-untyped-def]
    for name in table.entries:
        parameters = table.load(name).Parameters
        described, _ = build.descriptions(parameters)
        missing = {field.name for field in dataclasses.fields(parameters)} - set(described)
        assert not missing, f"{name}: say in the docstring of {parameters.__name__} what {missing} mean"


def test_descriptions_are_read_as_they_are_written(build: ModuleType) -> None:
    @dataclasses.dataclass(frozen=True)
    class Base:
        """depth: of the tree, 3 in the paper: see its
            appendix. width, height: of a leaf.

        A remark about all.
        """

        depth: int = 3
        width: int = 1
        height: int = 1

    @dataclasses.dataclass(frozen=True)
    class Extended(Base):
        """Those of the base.

        height: another one.
        """

        seed: int = 0

    described, remarks = build.descriptions(Extended)
    assert described == {
        "height": "another one.",
        "depth": "of the tree, 3 in the paper: see its appendix.",
        "width": "of a leaf.",
    }
    assert remarks == ["Those of the base. A remark about all.\n"]


def test_every_key_of_an_experiment_and_every_encoder_is_explained() -> None:
    page = (DOCS / "experiments.md").read_text(encoding="utf-8")
    models = (ExperimentSettings, TrainingSettings, TuningSettings, DatasetSettings, VariantSettings)
    for name in {key for model in models for key in model.model_fields} | set(ENCODERS.entries):
        assert f"`{name}`" in page, name


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*DOCS.glob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_picture_of_the_house_is_what_the_imports_say(house: ModuleType) -> None:
    assert house.picture() == (DOCS / "house.svg").read_text(encoding="utf-8"), (
        "docs/house.svg is stale: run `make docs`"
    )


def test_arrows_that_others_imply_are_left_out_and_circles_are_refused(house: ModuleType) -> None:
    imports = {"roof": {"room", "ground"}, "room": {"ground"}, "ground": set()}
    assert house.floors(imports) == {"roof": 2, "room": 1, "ground": 0}
    assert house.needed(imports) == {"roof": {"room"}, "room": {"ground"}, "ground": set()}
    with pytest.raises(ValueError, match="rooms import in a circle: ground"):
        house.floors({**imports, "ground": {"roof"}})


def test_the_table_of_the_page_on_tables_stands_in_a_report(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    text = (DOCS / "add-a-table.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n# tcmax/report/seeds.py\n(.*?)```", text, flags=re.DOTALL)
    namespace: dict[str, object] = {}
    exec(compile(code, "seeds.py", "exec"), namespace)
    experiment = experiment_in(tmp_path)
    monkeypatch.setattr(build_module, "TABLES", (*build_module.TABLES, namespace["seeds"]))
    found = build_module.tables(ReportRecords(experiment, write_records(tmp_path, experiment)))
    assert found[-1].name == "seeds"
    assert found[-1].data["worst"].le(found[-1].data["best"]).all()
    assert "worst seed" in found[-1].tex
