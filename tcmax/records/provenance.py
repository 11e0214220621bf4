"""What produced a result: code, configuration, data, versions, hardware.

A run's key hashes what changes its numbers: resolved settings, seed, fold, precision, the data fingerprint and the
training-side code it uses, taken from syntax trees without comments and docstrings. Hosts, dates and durations go to
sidecars, so that equal runs have equal bytes.
"""

import ast
import hashlib
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from tcmax import __version__
from tcmax.records import arithmetic
from tcmax.records.files import read_json, sha256, write_json

# Packages whose code can change a trained number. Everything else may be edited without retraining.
TRAINING_SIDE = (
    "tcmax.data",
    "tcmax.information",
    "tcmax.methods",
    "tcmax.models",
    "tcmax.seeding",
    "tcmax.training",
)
# On the training side, yet without influence on numbers: files are moved, written and checked here.
_INERT = (
    "tcmax.data.fetching",
    "tcmax.training.checkpoint",
    "tcmax.training.datasets",
    "tcmax.training.jobs",
    "tcmax.training.trials",
)
_SHARED = ("tcmax.training.loop", "tcmax.training.spec", "tcmax.data.base")
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)  # what can have a docstring
_VERSIONED = (
    "torch",
    "torchvision",
    "torchaudio",
    "numpy",
    "scipy",
    "statsmodels",
    "pandas",
    "pyarrow",
    "scikit-learn",
)


def is_training_side(module: str) -> bool:
    """Whether code of a module can change a trained number, so that run keys cover it."""
    return _within(module, TRAINING_SIDE) and not _within(module, _INERT)


def _within(module: str, parts: tuple[str, ...]) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in parts)


def _is_ours(module: str) -> bool:
    return module == "tcmax" or module.startswith("tcmax.")


@cache
def _source(module: str) -> Path | None:
    """Source file of a module, found without importing it or any package it is in."""
    top, *inner = module.split(".")
    if _is_ours(module):
        folders = [Path(__file__).parent.parent]
    else:
        spec = importlib.util.find_spec(top)
        if spec is None:
            return None
        if not inner and spec.origin and spec.origin.endswith(".py"):
            return Path(spec.origin)
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    for folder in folders:
        base = folder.joinpath(*inner)
        for candidate in (base.with_suffix(".py"), base / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


@cache
def _tree(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


@cache
def code_hash(path: Path) -> str:
    """Hash of a Python file's syntax tree without comments, docstrings and layout."""
    return hashlib.sha256(ast.unparse(_tree(path)).encode()).hexdigest()[:16]


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Modules that a module's source imports, wherever the import stands."""
    path = _source(module)
    if path is None:
        return ()
    found: list[str] = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # The package that a relative import starts from: one level is the module's own.
            up = node.level - (path.name == "__init__.py")
            package = module.split(".")[: -up or None] if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(found)


def closure(modules: Iterable[str], keep: Any) -> dict[str, str]:
    """Hash of every module reachable through imports from `modules` among those that `keep` accepts.

    `__init__` files of our training-side packages hold only tables of names and are left out: a new line changes no
    run.
    """
    roots = set(modules)
    pending, visited, hashes = list(roots), set(), {}
    while pending:
        module = pending.pop()
        if module in visited:
            continue
        visited.add(module)
        path = _source(module) if module in roots or keep(module) else None
        if path is None:
            continue
        if path.name != "__init__.py" or not is_training_side(module):
            hashes[module] = code_hash(path)
        pending += _imports(module)
    return dict(sorted(hashes.items()))


def training_code(modules: Iterable[str]) -> dict[str, str]:
    """Module -> hash of the training-side code a run uses: the shared loop, and the parts named by `modules`."""
    return _used([*_SHARED, *modules])


def data_code(module: str) -> dict[str, str]:
    """Module -> hash of the training-side code behind a dataset's module."""
    return _used([module])


def _used(modules: list[str]) -> dict[str, str]:
    """Code on the training side; a part from another package brings the modules of that package that it imports."""
    packages = {module.partition(".")[0] for module in modules if not _is_ours(module)}
    return closure(modules, lambda module: is_training_side(module) or module.partition(".")[0] in packages)


def stage_code(module: str) -> dict[str, str]:
    """Module -> hash of the code behind an analysis stage: everything of ours that it imports, right of predictions."""
    return closure([module], lambda name: _is_ours(name) and not is_training_side(name))


def digest(value: Any) -> str:
    """Short stable hash of plain data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that can change a number; absent ones are left out."""
    return {"tcmax": __version__, "python": platform.python_version(), **_library_versions()}


@cache
def _library_versions() -> dict[str, str]:
    """Looked up once: reading packages' metadata takes 30 ms, and a block of runs asks at each of them."""
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """What computed a result, without naming the host."""
    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def now() -> str:
    """The time in UTC, for sidecars."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def sidecar_of(output: Path) -> Path:
    """Where the provenance of an analysis output stands."""
    return output.with_name(f"{output.name}.provenance.json")


def write_stage(outputs: Path | Sequence[Path], stage: str, module: str, inputs: Iterable[Path], settings: Any) -> None:
    """Write the provenance of a stage's outputs beside each: its code, inputs by content, settings, versions."""
    shared = {
        "stage": stage,
        "module": module,
        "code": stage_code(module),
        "inputs": {str(path): sha256(path) for path in inputs},
        "settings": settings,
        "versions": versions(),
        "hardware": hardware(),
        "arithmetic": arithmetic.record(),
        "command": ["tcmax", *sys.argv[1:]],
        "written": now(),
    }
    for output in [outputs] if isinstance(outputs, Path) else outputs:
        content = sha256(output) if output.is_file() else None
        write_json(sidecar_of(output), {**shared, "output_sha256": content})


def changes(recorded: dict[str, Any], current: dict[str, Any], what: str) -> list[str]:
    """Sentences on how two mappings of plain values differ."""
    found = []
    for name in sorted(set(recorded) | set(current)):
        before, after = recorded.get(name), current.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            found += changes(before, after, f"{what} {name}")
        elif name not in recorded:
            found.append(f"{what} {name} is new ({after})")
        elif name not in current:
            found.append(f"{what} {name} is gone (was {before})")
        else:
            found.append(f"{what} {name} was {before}, is {after}")
    return found


def read_sidecar(output: Path) -> dict[str, Any] | None:
    """Provenance of an analysis output, or None when there is none beside it."""
    path = sidecar_of(output)
    if not path.is_file():
        return None
    content: dict[str, Any] = read_json(path)
    return content
