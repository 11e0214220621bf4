"""The house: rooms stand one above the other, and imports point down. A loose module, an import upwards or in a circle
fails here, and so does torch right of predictions or a tool of statistics left of them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import tcmax
from tcmax.records import provenance
from tcmax.stats import PROCEDURES

PACKAGE = Path(tcmax.__file__).parent
# From the roof to the ground: a room imports itself and what stands below it.
ROOMS = (
    "cli",
    "commands",
    "report",
    "audit",
    "evidence",
    "training",
    "experiment",
    "data",
    "methods",
    "information",
    "models",
    "metrics",
    "records",
    "stats",
    "console",
    "registry",
    "seeding",
    "errors",
)
# The same within rooms that have rooms of their own; what is not named stands below.
INNER = {
    "commands": ("imports",),
    "data": ("fetching", "media"),
    "models": ("classifier", "fusion", "encoders"),
}
# Modules at the top of the package: the command line, and the ground that everything stands on.
TOP = ("cli", "console", "errors", "registry", "seeding")
RIGHT_OF_PREDICTIONS = ("report", "audit", "evidence", "metrics", "stats")
LEFT_OF_PREDICTIONS = ("training", "data", "methods", "information", "models")
# Both sides stand on these.
SHARED = ("experiment", "records", "console", "errors", "registry")
TORCH = ("torch", "torchvision", "torchaudio", "sklearn", "av", "cv2", "PIL")
STATISTICS = ("pandas", "scipy", "matplotlib", "statsmodels", "seaborn", "jinja2")
# Lists of names and aliases, which import nothing.
TABLES = ("tcmax.data", "tcmax.models.encoders", "tcmax.models.fusion", "tcmax.methods")


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


@cache
def everywhere(module: str) -> tuple[tuple[int, str], ...]:
    """(line, module) of each import of a module, wherever it stands."""
    return tuple(imports(module, ast.parse(MODULES[module].read_text(encoding="utf-8"))))


@cache
def on_import(module: str) -> frozenset[str]:
    """What importing a module imports."""
    tree = _WithoutFunctions().visit(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    return frozenset(name for _, name in imports(module, tree))


def of(rooms: tuple[str, ...]) -> list[str]:
    return [module for module in MODULES if within(module, tuple(f"tcmax.{room}" for room in rooms))]


def faults(modules: list[str], forbidden: tuple[str, ...], allowed: tuple[str, ...] = ()) -> list[str]:
    assert modules
    return [
        f"{module}:{line} imports {name}"
        for module in modules
        for line, name in everywhere(module)
        if within(name, forbidden) and name not in allowed
    ]


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_every_module_stands_in_a_room():
    assert [module for module in MODULES if module != "tcmax" and room_of(module) not in ROOMS] == []
    loose = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert loose == set(TOP)
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"} == {*ROOMS} - loose


def test_rooms_import_only_what_stands_below_them():
    height = {room: len(ROOMS) - place for place, room in enumerate(ROOMS)}
    upwards = [
        f"{module}:{line} imports {name}"
        for module in MODULES
        if module != "tcmax"
        for line, name in everywhere(module)
        if within(name, ("tcmax",)) and name != "tcmax" and height[room_of(name)] > height[room_of(module)]
    ]
    assert upwards == []


@pytest.mark.parametrize("room", INNER)
def test_rooms_within_rooms_import_downwards_too(room):
    order = [*INNER[room], ""]

    def floor(module: str) -> int:
        inner = module.split(".")[2] if module.count(".") > 1 else ""
        return order.index(inner if inner in order else "")

    upwards = [
        f"{module}:{line} imports {name}"
        for module in of((room,))
        for line, name in everywhere(module)
        if within(name, (f"tcmax.{room}",)) and name not in TABLES and floor(name) < floor(module)
    ]
    assert upwards == []


def test_no_import_goes_in_a_circle():
    """Not even one that stands in a function: who reads one of two such modules has to read both."""
    done, path = set(), []

    def walk(module: str) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        path.append(module)
        for target in sorted({name for _, name in everywhere(module) if name in MODULES and name != "tcmax"}):
            walk(target)
        path.pop()
        done.add(module)

    for module in MODULES:
        walk(module)


def test_nothing_right_of_predictions_imports_torch_or_what_trains():
    training = tuple(f"tcmax.{room}" for room in LEFT_OF_PREDICTIONS)
    assert faults(of(RIGHT_OF_PREDICTIONS), (*TORCH, *training), allowed=TABLES) == []


def test_nothing_left_of_predictions_imports_the_tools_of_statistics():
    assert faults(of((*LEFT_OF_PREDICTIONS, "experiment", "seeding")), STATISTICS) == []


def test_what_both_sides_stand_on_holds_neither_torch_nor_statistics():
    assert faults(of(SHARED), (*TORCH, *STATISTICS)) == []
    # The experiment counts the folds of a user's feature file.
    training = tuple(f"tcmax.{room}" for room in LEFT_OF_PREDICTIONS)
    assert faults(of(SHARED), training, allowed=(*TABLES, "tcmax.data.features")) == []


def test_statistics_know_arrays_only():
    ours = [
        f"{module}:{line} imports {name}"
        for module in of(("stats",))
        for line, name in everywhere(module)
        if within(name, ("tcmax",)) and not within(name, ("tcmax.stats", "tcmax.seeding"))
    ]
    assert ours == []


def test_importing_a_module_of_the_analysis_reaches_no_torch():
    light = ("tcmax.commands.analyse", "tcmax.commands.why", "tcmax.training.jobs", "tcmax.cli")
    reached = {}
    for module in (*of((*RIGHT_OF_PREDICTIONS, *SHARED)), *of(("commands.imports",)), *light):
        pending, seen = [module], set()
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                pending += on_import(name) if name in MODULES else ()
        reached[module] = sorted(name for name in seen if within(name, TORCH))
    assert {module: names for module, names in reached.items() if names} == {}


def test_every_module_that_training_uses_is_fingerprinted():
    # Fingerprints follow imports among training-side modules. What else these import must be unable to change a number.
    inert = ("tcmax.console", "tcmax.errors", "tcmax.experiment", "tcmax.records", "tcmax.registry")
    trains = [module for module in MODULES if provenance.is_training_side(module)]
    used = {name for module in trains for _, name in everywhere(module) if within(name, ("tcmax",))}
    assert {name for name in used if not provenance.is_training_side(name) and not within(name, inert)} == set()
    code = provenance.training_code(["tcmax.methods.joint", "tcmax.models.fusion.concat", "tcmax.models.encoders.mlp"])
    needed = {"tcmax.models.classifier", "tcmax.models.sgd", "tcmax.seeding"}
    assert needed | {"tcmax.training.loop", "tcmax.training.spec"} <= set(code)
    assert not {"tcmax.training.jobs", "tcmax.training.datasets", "tcmax.data.fetching.fetch"} & set(code)


@pytest.mark.parametrize(
    "statement", ["import tcmax.stats", "import tcmax; tcmax.__version__; dir(tcmax)", "import tcmax.cli"]
)
def test_a_light_import_stays_light(statement):
    code = f"import sys; {statement}; sys.exit(' '.join({{'torch', 'statsmodels', 'pandas'}} & set(sys.modules)) or 0)"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_importing_the_whole_analysis_leaves_torch_out():
    modules = [module for module in of((*RIGHT_OF_PREDICTIONS, *SHARED)) if module != "tcmax.console"]
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
