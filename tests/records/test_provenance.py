"""Code fingerprints: what retrains a run, what does not, and what every result says of its origin."""

import ast
import re
import shutil
import sys
from pathlib import Path

import pytest
import tiny

import tcmax
from tcmax.records import provenance
from tcmax.records.files import read_json, sha256
from tcmax.records.provenance import changes, code_hash, digest
from tcmax.training import datasets, jobs

PACKAGE = Path(tcmax.__file__).parent
pytestmark = pytest.mark.usefixtures("installed_tiny")


def forget():
    for cached in (provenance._source, provenance._tree, provenance._imports, provenance.code_hash):
        cached.cache_clear()


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the package whose files the fingerprints are taken from; edit it, then call `forget`."""
    folder = tmp_path / "tcmax"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "__file__", str(folder / "records" / "provenance.py"))
    forget()
    yield folder
    monkeypatch.undo()
    forget()


VARIANTS = {
    "joint": {"method": "joint", "head": "concat"},
    "shared": {"method": "joint", "head": "shared-head"},
    "ogm": {"method": "ogm", "head": "concat", "parameters": {"modulated": "weights"}},
    "unimodal": {"method": "unimodal", "head": "sum"},
    "tcmax": {"method": "tcmax", "head": "concat"},
}


def keys():
    """Key of every variant's block, and of the data."""
    forget()
    experiment = tiny.experiment(variants=VARIANTS)
    found = {cell.variant: jobs.block_key(experiment, cell, 0) for cell in experiment.cells()}
    return {**found, "data": datasets.data_key(experiment, "tiny")}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


EVERYTHING = {*VARIANTS, "data"}
CONSTANTS = [
    ("methods/ogm.py", "alpha: float = 0.8", "alpha: float = 0.9", {"ogm"}),
    ("methods/ogm.py", "1 - torch.tanh", "2 - torch.tanh", {"ogm"}),
    ("methods/joint.py", 'logits["joint"]', 'logits["joint"] * 2', {"joint", "shared", "ogm"}),
    ("methods/unimodal.py", '"loss": total(terms)', '"loss": total(terms) * 2', {"unimodal"}),
    ("information/total_correlation.py", "chunk_size: int = 4096", "chunk_size: int = 4097", {"tcmax"}),
    ("models/fusion/concat.py", "/ len(self.widths)", "/ 2", {"joint", "ogm", "tcmax"}),
    ("models/fusion/shared_head.py", "joint / len", "joint / 2 / len", {"shared"}),
    ("models/fusion/base.py", "first = first + logits", "first = logits + first", set(VARIANTS)),
    ("models/encoders/mlp.py", "nn.ReLU()", "nn.GELU()", set(VARIANTS)),
    ("models/linear.py", "inputs.expand(-1, 2, -1)", "inputs.expand(-1, 3, -1)", set(VARIANTS)),
    ("models/encoders/cnn.py", "kernel_size=3", "kernel_size=5", set()),
    ("training/loading.py", "PASS_ITEMS = 512", "PASS_ITEMS = 256", set(VARIANTS)),
    ("models/classifier.py", 'derive(*root, "init", path)', 'derive(*root, "start", path)', set(VARIANTS)),
    ("seeding.py", "digest_size=8", "digest_size=9", set(VARIANTS)),
    ("methods/base.py", "set_to_none=True", "set_to_none=False", set(VARIANTS)),
    ("data/base.py", "digest_size=16", "digest_size=17", EVERYTHING),
    ("data/digits.py", "NOISE_SD = 0.4", "NOISE_SD = 0.5", set()),
    ("training/checkpoint.py", "checkpoint 4", "checkpoint 5", set()),
    ("report", None, None, set()),
    ("stats/intervals.py", None, None, set()),
    ("training/jobs.py", "MANIFEST_VERSION", "1 + MANIFEST_VERSION", set()),
]


@pytest.mark.parametrize(("name", "old", "new", "affected"), CONSTANTS, ids=[f"{c[0]}-{c[1]}" for c in CONSTANTS])
def test_an_edit_changes_the_keys_of_exactly_what_uses_it(copy, name, old, new, affected):
    before = keys()
    path = copy / name
    if old is not None:
        edit(path, old, new)
    elif path.is_file():
        path.write_text(path.read_text() + "\nADDED = 1\n")
    else:
        path.mkdir(exist_ok=True)
        (path / "added.py").write_text("ADDED = 1\n")
    after = keys()
    assert {label for label in before if before[label] != after[label]} == affected


def reformatted(text):
    """The same code in another layout: comments, blank lines, quotes, parentheses and docstrings changed."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0].value.value = "Another docstring."
    lines = ast.unparse(ast.fix_missing_locations(tree)).splitlines()
    return "# A comment.\n\n" + "\n\n".join(f"{line}  # why" if line.endswith(")") else line for line in lines) + "\n"


def test_comments_docstrings_and_layout_change_no_key(copy):
    before = keys()
    edited = 0
    for path in copy.rglob("*.py"):
        text = path.read_text()
        if not re.search(r'(?<!^)"""[^"]*\\n', text):
            path.write_text(reformatted(text))
            edited += 1
    assert edited > 30
    assert keys() == before


def test_a_docstring_where_there_was_none_changes_no_key(copy):
    before = keys()
    line = "def _diverge(state: RunState, epoch: int) -> None:\n"
    edit(copy / "training/loop.py", line, f'{line}    "New."\n')
    assert keys() == before


def test_a_new_line_in_a_table_of_names_changes_no_key(copy):
    before = keys()
    for package in ("methods", "models/fusion", "models/encoders", "data"):
        edit(
            copy / package / "__init__.py", "    entries={\n", '    entries={\n        "new": Entry("somewhere:New"),\n'
        )
    assert keys() == before


def test_files_of_tables_on_the_training_side_hold_nothing_but_tables():
    # Fingerprints leave these files out, so nothing in them may change a number.
    allowed = ast.Call | ast.Name | ast.keyword | ast.Dict | ast.Tuple | ast.Constant | ast.expr_context
    names = {path: ".".join(path.parent.relative_to(PACKAGE.parent).parts) for path in PACKAGE.rglob("__init__.py")}
    paths = [path for path, name in names.items() if provenance.is_training_side(name)]
    assert len(paths) == 8
    for path in paths:
        for node in ast.parse(path.read_text()).body:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            imports = isinstance(node, ast.ImportFrom) and node.module == "tcmax.registry"
            table = isinstance(node, ast.Assign) and all(
                isinstance(part, allowed) and (not isinstance(part, ast.Call) or part.func.id in ("NameTable", "Entry"))
                for part in ast.walk(node.value)
            )
            assert docstring or imports or table, f"{path}:{node.lineno}"


def test_tables_of_the_analysis_are_part_of_its_fingerprint(copy):
    forget()
    before = provenance.stage_code("tcmax.metrics.scoring")
    path = copy / "metrics/__init__.py"
    edit(path, '_proportion("Accuracy", "higher"', '_proportion("Accuracy", "lower"')
    forget()
    after = provenance.stage_code("tcmax.metrics.scoring")
    assert {name for name in before if before[name] != after[name]} == {"tcmax.metrics"}


def test_a_module_of_another_package_is_hashed_where_a_run_uses_it(tmp_path, monkeypatch):
    # A name that merely begins like ours must not be looked up among our files.
    module = tmp_path / "tcmax_extra.py"
    module.write_text("RATE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    before = provenance.training_code(["tcmax_extra"])
    assert "tcmax_extra" in before
    module.write_text("RATE = 2\n")
    forget()
    after = provenance.training_code(["tcmax_extra"])
    assert {name for name in before if before[name] != after[name]} == {"tcmax_extra"}


def test_a_package_of_others_is_hashed_with_its_init_file(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "__init__.py").write_text("RATE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    assert "elsewhere" in provenance.training_code(["elsewhere"])


def test_packages_that_import_each_other_end_the_walk(copy):
    for name, other in (("methods", "models.fusion"), ("models.fusion", "methods")):
        path = copy / name.replace(".", "/") / "__init__.py"
        path.write_text(path.read_text() + f"\nimport tcmax.{other}\nimport tcmax.{name}\n")
    assert set(keys()) == EVERYTHING


def test_the_stage_code_of_an_analysis_holds_no_training_code():
    code = provenance.stage_code("tcmax.stats.crossed")
    assert "tcmax.stats.crossed" in code
    assert not any(provenance.is_training_side(name) for name in code)


def test_the_hash_of_a_file_is_that_of_its_meaning(tmp_path):
    def of(text):
        path = tmp_path / f"m{len(list(tmp_path.iterdir()))}.py"
        path.write_text(text)
        return code_hash(path)

    plain = of('"""Doc."""\nX = 1\n\n\ndef f(a):\n    """Doc."""\n    return a + X\n')
    assert of("X = 1\ndef f( a ): # c\n  return (a+X)") == plain
    assert of("X = 2\ndef f(a):\n    return a + X\n") != plain
    assert of("X = 1\ndef f(a):\n    return X + a\n") != plain
    assert of('X = 1\ndef f(a):\n    return "Doc."\n') != of('X = 1\ndef f(a):\n    return "Dog."\n')
    assert of('def f():\n    """Only this."""\n') == of("def f():\n    pass\n")


def test_a_digest_depends_on_content_not_on_key_order_or_container():
    assert digest({"a": (1, 2), "b": 0.1}) == digest({"b": 0.1, "a": [1, 2]})
    assert len({digest(value) for value in ({"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"b": 1}, {"a": [1]})}) == 6


def test_differences_are_told_as_sentences_down_to_the_key():
    before = {"a": 1, "b": {"x": 1, "y": 2}, "gone": 3, "same": [1]}
    after = {"a": 2, "b": {"x": 1, "y": 5}, "new": 4, "same": [1]}
    assert changes(before, after, "setting") == [
        "setting a was 1, is 2",
        "setting b y was 2, is 5",
        "setting gone is gone (was 3)",
        "setting new is new (4)",
    ]


def test_an_analysis_output_says_what_produced_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/tcmax", "score", "tiny"])
    source, output = tmp_path / "in.txt", tmp_path / "out.parquet"
    source.write_text("in")
    output.write_text("out")
    assert provenance.read_sidecar(output) is None
    provenance.write_stage(output, "score", "tcmax.stats.crossed", [source], {"a": 1})
    content = provenance.read_sidecar(output)
    assert provenance.sidecar_of(output) == tmp_path / "out.parquet.provenance.json"
    assert content["inputs"] == {str(source): sha256(source)}
    assert content["output_sha256"] == sha256(output)
    assert content["code"] == provenance.stage_code("tcmax.stats.crossed")
    assert content["command"] == ["tcmax", "score", "tiny"]
    assert content["settings"] == {"a": 1}
    assert content == read_json(provenance.sidecar_of(output))


def test_provenance_names_versions_and_hardware_but_no_host():
    import platform

    versions, hardware = provenance.versions(), provenance.hardware()
    assert versions["tcmax"] == tcmax.__version__
    assert versions["python"] == platform.python_version()
    assert {"torch", "numpy", "pandas"} <= set(versions)
    assert platform.node() not in str(hardware).split()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", provenance.now())
