"""Draws docs/house.svg, the rooms of the package and the arrows between them, from its own imports: `make docs`.

A room is a folder of `tcmax/`, or a module that stands beside the folders. An arrow goes from a room to one that it
imports; one that others already imply is left out. A room stands one floor above the highest that it imports.
"""

import ast
from collections.abc import Mapping
from html import escape
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "tcmax"
PICTURE = Path(__file__).parent / "house.svg"
WIDTH, FLOOR, BOX, HEIGHT, MARGIN = 980, 74, 112, 40, 30

# Where a room stands on its floor: right of predictions on the left, what trains on the right, what both share between.
PLACES = {
    "report": 270,
    "audit": 240,
    "evidence": 180,
    "metrics": 270,
    "stats": 90,
    "experiment": 520,
    "records": 330,
    "registry": 660,
    "errors": 450,
    "training": 760,
    "data": 520,
    "methods": 830,
    "information": 730,
    "models": 800,
    "seeding": 850,
    "console": 575,
}
Graph = dict[str, set[str]]


def graph() -> tuple[Graph, dict[str, int]]:
    """Rooms that each room imports, wherever the import stands, and how many modules it has."""
    imports: Graph = {}
    sizes: dict[str, int] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).with_suffix("").parts
        if place == ("__init__",):
            continue
        room = place[0]
        sizes[room] = sizes.get(room, 0) + (place[-1] != "__init__")
        found = imports.setdefault(room, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "tcmax" else []
                names.append(node.module)
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found.update(name.split(".")[1] for name in names if name.startswith("tcmax."))
    return {
        room: {name for name in found if name in imports and name != room} for room, found in imports.items()
    }, sizes


def floors(imports: Mapping[str, set[str]]) -> dict[str, int]:
    """The floor of each room: 0 for one that imports none. Raises ValueError when rooms import in a circle."""
    known: dict[str, int] = {}

    def floor(room: str, path: tuple[str, ...]) -> int:
        if room in path:
            raise ValueError(f"rooms import in a circle: {' -> '.join([*path[path.index(room) :], room])}")
        if room not in known:
            known[room] = max((1 + floor(below, (*path, room)) for below in sorted(imports[room])), default=0)
        return known[room]

    for room in sorted(imports):
        floor(room, ())
    return known


def needed(imports: Mapping[str, set[str]]) -> Graph:
    """The arrows that no longer way implies."""

    def reach(room: str) -> set[str]:
        return set().union(*({below} | reach(below) for below in imports[room]))

    return {
        room: {below for below in found if not any(below in reach(other) for other in found if other != below)}
        for room, found in imports.items()
    }


def picture() -> str:
    """The figure as SVG; equal imports give equal bytes."""
    imports, sizes = graph()
    level = floors(imports)
    top = max(level.values())
    at: dict[str, tuple[float, float]] = {}
    for room, number in level.items():
        at[room] = (PLACES.get(room, WIDTH / 2), MARGIN + FLOOR * (top - number) + HEIGHT / 2)
    arrows = []
    for room, found in sorted(needed(imports).items()):
        for below in sorted(found):
            (x1, y1), (x2, y2) = at[room], at[below]
            y1, y2 = y1 + HEIGHT / 2, y2 - HEIGHT / 2 - 3
            bend = (y2 - y1) / 2
            path = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{y1 + bend:.0f} {x2:.0f},{y2 - bend:.0f} {x2:.0f},{y2:.0f}"
            arrows.append(
                f'<path class="arrow" d="{path}" marker-end="url(#head)"><title>{room} → {below}</title></path>'
            )
    boxes = []
    for room, (x, y) in sorted(at.items()):
        count = f"{sizes[room]} modules" if sizes[room] > 1 else "one module"
        boxes.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{BOX}" height="{HEIGHT}" rx="5"/>'
            f'<text x="{x:.0f}" y="{y - 2:.0f}">{escape(room)}</text>'
            f'<text class="size" x="{x:.0f}" y="{y + 13:.0f}">{count}</text>'
        )
    height = 2 * MARGIN + FLOOR * top + HEIGHT
    style = (
        "text{font:14px sans-serif;text-anchor:middle;fill:#1a1a1a}.size{font-size:10px;fill:#555}"
        "rect{fill:#f4f6fa;stroke:#5b6b8c}.arrow{fill:none;stroke:#8a94a8;stroke-width:1.3}"
    )
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<title>The rooms of tcmax and what they import</title><style>{style}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#8a94a8"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height:.0f}" style="fill:#ffffff;stroke:none"/>',
        *arrows,
        *boxes,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
