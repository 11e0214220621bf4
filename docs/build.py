"""Writes docs/methods.md from the code: `make docs`. A test fails when the page is stale."""

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tcmax.experiment.switches import PROTOCOL, SWITCHES, Switch
from tcmax.methods import METHODS
from tcmax.models.fusion import HEADS
from tcmax.registry import NameTable

PAGE = Path(__file__).parent / "methods.md"

INTRODUCTION = """\
# Methods and heads

<!-- Written by docs/build.py from the code: change the code, then run `make docs`. -->

A **variant** is a method, a head, a fidelity, switches and parameters, named in a config:

```yaml
variants:
  ogm-ge-released:
    {method: ogm-ge, head: concat, fidelity: release, switches: {ogm.last_epoch: half}, parameters: {alpha: 0.1}}
```

`fidelity` picks a column of the tables below, and `switches` overrides single rows, so that the effect of one deviation
can be measured alone:

| fidelity | what it stands for |
| --- | --- |
| `reference` | the method as published, with safe numerics; the default |
| `original` | what its authors' own public code does |
| `release` | what the TCMax authors' public code does, whose numbers the paper prints |

Numbers such as §3.6 are sections of the method specification behind this project, which compares papers and codes line
by line; they stand in the code too, at the line where a switch acts. What the specification says that can be tested is
an assertion with a number: `tests/test_assertions.py` lists all 40 with the tests that hold them.
"""

PROTOCOL_TEXT = """\
## Protocol

What happens around every method. These switches act in every variant:
"""

PROTOCOL_NOTES = """\
The split is cut per variant: where a released variant stands beside others, the report's table of fair comparison says
that they did not train on the same items. Not switches: learning rates and their drops (`training:` in a config), seeds
(a list in a config), and read-outs (all are scored for every variant). Frame order, audio crops and features belong to
the [preparation of raw media](raw-media.md).

`original` is what the authors' code does to a model under this protocol. Not in it: their optimisers (Adam or AdamW for
MCR, MLB, OPM and QMF), epochs chosen on test items (`best_test_oracle` shows what that is worth), and read-outs that
are stored for no variant (AGM's responses, MLA's fixed weights and entropies over a batch, auxiliary heads of MCR and
MLB).
"""


def page() -> str:
    """The text of docs/methods.md."""
    protocol = {name: switch for name, switch in SWITCHES.items() if PROTOCOL in switch.scope}
    parts = [INTRODUCTION, PROTOCOL_TEXT, _switches(protocol, ()), PROTOCOL_NOTES]
    parts += ["## Methods\n", _contents(METHODS), *_sections(METHODS)]
    parts += ["## Heads\n", _contents(HEADS), *_sections(HEADS)]
    return "\n".join(parts)


def _contents(table: NameTable) -> str:
    """Links to every id, which is also an anchor of the page."""
    return " · ".join(f"[`{name}`](#{name})" for name in table.entries) + "\n"


def _sections(table: NameTable) -> Iterable[str]:
    """One section for each module of a table, in table order."""
    modules: dict[str, list[str]] = {}
    for name in table.entries:
        modules.setdefault(table.target(name).partition(":")[0], []).append(name)
    for module, names in modules.items():
        classes = {name: table.load(name) for name in names}
        lines = inspect.cleandoc(sys.modules[module].__doc__ or "").splitlines()
        anchors = "".join(f'<a id="{name}"></a>' for name in names)
        yield f"### {anchors}{_heading(lines[0])}\n"
        yield _ids(table, classes)
        yield "\n".join([f"Source: {_source(lines[0])} · [code](../{module.replace('.', '/')}.py)", *lines[1:], ""])
        described = {cls.Parameters: None for cls in classes.values() if dataclasses.fields(cls.Parameters)}
        for parameters in described:
            users = [name for name, cls in classes.items() if cls.Parameters is parameters]
            yield _parameters(parameters, users if len(described) > 1 else [])
        acting = {name: switch for name, switch in SWITCHES.items() if set(switch.scope) & set(names)}
        if acting:
            yield "Deviations:\n"
            yield _switches(acting, names)


def _heading(summary: str) -> str:
    return re.sub(r" \([^()]*\)\.?$", "", summary).rstrip(".")


def _source(summary: str) -> str:
    """Paper and section, from the brackets that end a module's first line; papers as links."""
    found = re.search(r"\(([^()]*)\)\.?$", summary)
    text = found[1] if found else "this project"
    text = text.replace("methods §", "§")
    return re.sub(r"arXiv (\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", text)


def _ids(table: NameTable, classes: dict[str, Any]) -> str:
    rows = []
    for name, cls in classes.items():
        aliases = ", ".join(table.entries[name].aliases) or "–"
        summary = _first_paragraph(cls)
        if table is METHODS:
            rows.append((f"`{name}`", summary, aliases, f"`{cls.default_head}`", f"`{cls.readout}`"))
        else:
            additive = getattr(cls, "additive", None)
            rows.append((f"`{name}`", summary, aliases, {True: "yes", False: "no"}.get(additive, "by switch")))
    titles = ("id", "what it is", "also called")
    return _table((*titles, "default head", "own read-out") if table is METHODS else (*titles, "additive"), rows)


def _first_paragraph(cls: Any) -> str:
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split())


def _parameters(parameters: Any, users: list[str]) -> str:
    """A table of parameters; remarks of their docstring that describe none of them stand below it."""
    described, remarks = descriptions(parameters)
    rows = []
    for field in dataclasses.fields(parameters):
        default = "by the rule at right" if field.default is None else f"`{field.default}`"
        rows.append((f"`{field.name}`", default, described.get(field.name, "–")))
    title = f"Parameters of {', '.join(f'`{name}`' for name in users)}:" if users else "Parameters:"
    return "\n".join(
        [f"{title}\n", _table(("parameter", "default", "meaning, and source of the default"), rows), *remarks]
    )


def descriptions(parameters: Any) -> tuple[dict[str, str], list[str]]:
    """Field -> what a docstring of the dataclass or of one it extends says of it, and the paragraphs about none.

    An entry is "name: text" or "name, name: text", at the start of a line or after a full stop.
    """
    found: dict[str, str] = {}
    remarks: list[str] = []
    names = "|".join(field.name for field in dataclasses.fields(parameters))
    entry = re.compile(rf"(?:^|(?<=\. ))((?:{names})(?:, (?:{names}))*): ")
    for cls in parameters.__mro__:
        if not dataclasses.is_dataclass(cls) or cls.__doc__ is None:
            continue
        for paragraph in inspect.cleandoc(cls.__doc__).split("\n\n"):
            # A line that is indented continues the entry above it.
            for line in re.split(r"\n(?! )", paragraph):
                pieces = entry.split(" ".join(line.split()))
                if len(pieces) == 1 and not re.fullmatch(r"Nothing to set\.", pieces[0]):
                    remarks.append(pieces[0])
                for heads, text in zip(pieces[1::2], pieces[2::2], strict=True):
                    for name in heads.split(", "):
                        found.setdefault(name, text.strip())
    wrapped = ["\n".join(textwrap.wrap(" ".join(remarks), 120, break_on_hyphens=False)) + "\n"] if remarks else []
    return found, wrapped


def _switches(switches: dict[str, Switch], names: Iterable[str]) -> str:
    """A table of switches; one that does not act in all of `names` says where it does."""
    rows = []
    for name, switch in switches.items():
        only = [each for each in switch.scope if each in names]
        where = f" (in {', '.join(f'`{each}`' for each in only)} only)" if len(only) < len(list(names)) else ""
        values = (f"`{str(value).lower()}`" for value in (switch.reference, switch.original, switch.release))
        rows.append((f"`{name}`", switch.what + where, switch.section, *values))
    return _table(("switch", "what it does", "section", "reference", "original", "release"), rows)


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(titles), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
