"""The line everything travels runs one way: an import against it fails here."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import tcmax
from tcmax import provenance
from tcmax.stats import PROCEDURES

PACKAGE = Path(tcmax.__file__).parent
TRAINING = provenance.TRAINING_SIDE
ANALYSIS = (
    "tcmax.audit",
    "tcmax.compare",
    "tcmax.evidence",
    "tcmax.foreign",
    "tcmax.metrics",
    "tcmax.report",
    "tcmax.stats",
)
# Both sides stand on these; they hold no torch and no statistics.
GROUND = (
    "tcmax.console",
    "tcmax.errors",
    "tcmax.experiment",
    "tcmax.files",
    "tcmax.memory",
    "tcmax.provenance",
    "tcmax.records",
    "tcmax.registry",
    "tcmax.sequential",
    "tcmax.switches",
)
# These tie the sides together and know the paths.
CONDUCTORS = (
    "tcmax.cli",
    "tcmax.doctor",
    "tcmax.jobs",
    "tcmax.looks",
    "tcmax.plan",
    "tcmax.power_plan",
    "tcmax.prepare",
    "tcmax.splits",
    "tcmax.stages",
    "tcmax.theory",
    "tcmax.why",
)


def within(module: str, parts: tuple[str, ...]) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in parts)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(module: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of every import below `tree`; `from package import module` names the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively, which fingerprints do not follow"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in inside if name in MODULES]
            if len(modules) < len(inside):
                modules.append(str(node.module))
            yield from ((node.lineno, name) for name in modules)


class _WithoutFunctions(ast.NodeTransformer):
    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        return None

    def visit_If(self, node: ast.If) -> ast.If | None:
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else node


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


EVERYWHERE = {module: list(imports(module, tree_of(module))) for module in MODULES}
ON_IMPORT = {
    module: {name for _, name in imports(module, _WithoutFunctions().visit(tree_of(module)))} for module in MODULES
}


def faults(modules: list[str], forbidden: tuple[str, ...], allowed: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{module}:{line} imports {name}"
        for module in modules
        for line, name in EVERYWHERE[module]
        if within(name, forbidden) and name not in allowed
    ]


def of(parts: tuple[str, ...]) -> list[str]:
    found = [module for module in MODULES if within(module, parts)]
    assert found
    return found


TORCH = ("torch", "torchvision", "torchaudio", "sklearn", "av", "cv2", "PIL")
# Lists of names and aliases, which import nothing.
TABLES = ("tcmax.data", "tcmax.encoders", "tcmax.fusion", "tcmax.methods")


def test_every_module_stands_somewhere():
    placed = (*TRAINING, *ANALYSIS, *GROUND, *CONDUCTORS)
    assert [module for module in MODULES if module != "tcmax" and not within(module, placed)] == []


def test_nothing_right_of_predictions_imports_torch_or_what_trains():
    assert faults(of(ANALYSIS), (*TORCH, *TRAINING), allowed=(*TABLES, "tcmax.seeding")) == []


def test_nothing_on_the_training_side_imports_the_tools_of_statistics():
    assert faults(of(TRAINING), ("pandas", "scipy", "matplotlib", "statsmodels", "seaborn", "jinja2")) == []


def test_nothing_on_the_training_side_imports_the_analysis_or_the_conductors():
    assert faults(of(TRAINING), (*ANALYSIS, *CONDUCTORS)) == []


def test_the_ground_imports_neither_side():
    heavy = (*TORCH, "pandas", "scipy", "matplotlib", "statsmodels", "seaborn")
    assert faults(of(GROUND), (*heavy, *ANALYSIS, *CONDUCTORS)) == []
    # experiment.py reads the tables of names, and counts the folds of a user's feature file.
    assert faults(of(GROUND), TRAINING, allowed=(*TABLES, "tcmax.data.features")) == []


def test_statistics_know_arrays_only():
    ours = [
        f"{module}:{line} imports {name}"
        for module in of(("tcmax.stats",))
        for line, name in EVERYWHERE[module]
        if within(name, ("tcmax",)) and not within(name, ("tcmax.stats", "tcmax.seeding"))
    ]
    assert ours == []


def test_importing_a_module_of_the_analysis_reaches_no_torch():
    reached = {}
    for module in of((*ANALYSIS, *GROUND, "tcmax.stages", "tcmax.jobs", "tcmax.why", "tcmax.cli")):
        pending, seen = [module], set()
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                pending += ON_IMPORT.get(name, ())
        reached[module] = sorted(name for name in seen if within(name, TORCH))
    assert {module: names for module, names in reached.items() if names} == {}


def test_packages_do_not_import_each_other_in_a_circle():
    def top(name):
        return ".".join(name.split(".")[:2])

    graph = {}
    for module, found in EVERYWHERE.items():
        targets = {top(name) for _, name in found if within(name, ("tcmax",)) and name != "tcmax"}
        graph.setdefault(top(module), set()).update(targets - {top(module)})
    done, path = set(), []

    def walk(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for target in sorted(graph.get(name, ())):
            walk(target)
        path.pop()
        done.add(name)

    for name in sorted(graph):
        walk(name)


def test_every_module_that_training_uses_is_fingerprinted():
    # Fingerprints follow imports among training-side modules. What else these import must be unable to change a number.
    inert = {"tcmax.console", "tcmax.errors", "tcmax.experiment", "tcmax.files", "tcmax.registry", "tcmax.switches"}
    used = {
        name
        for module in of(TRAINING)
        for _, name in EVERYWHERE[module]
        if within(name, ("tcmax",)) and not within(name, TRAINING)
    }
    assert used <= inert
    code = provenance.training_code(["tcmax.methods.joint", "tcmax.fusion.concat", "tcmax.encoders.mlp"])
    needed = {"tcmax.model", "tcmax.seeding", "tcmax.sgd", "tcmax.training.loop", "tcmax.training.spec"}
    assert needed <= set(code)


@pytest.mark.parametrize(
    "statement", ["import tcmax.stats", "import tcmax; tcmax.__version__; dir(tcmax)", "import tcmax.cli"]
)
def test_a_light_import_stays_light(statement):
    code = f"import sys; {statement}; sys.exit(' '.join({{'torch', 'statsmodels', 'pandas'}} & set(sys.modules)) or 0)"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_importing_the_whole_analysis_leaves_torch_out():
    modules = [module for module in of((*ANALYSIS, *GROUND)) if module != "tcmax.console"]
    code = f"import sys; from importlib import import_module; [import_module(m) for m in {modules!r}];"
    code += "sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_public_name_resolves():
    for name in tcmax.__all__:
        assert getattr(tcmax, name) is not None
        assert name in dir(tcmax)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tcmax.nonsense  # noqa: B018


def test_every_procedure_in_the_table_of_statistics_can_be_imported():
    for name, target in PROCEDURES.items():
        module, _, attribute = target.partition(":")
        assert callable(getattr(import_module(module), attribute)), name
