"""Colours, markers and line styles: the same for a method in every figure and table, readable when colour-blind.

Hue and marker are the method's; variants of one method (its heads, its parameters) differ in line style, and where
there are more than two also in shade.
"""

from dataclasses import dataclass

import seaborn as sns

from tcmax.experiment.grid import Experiment

# Seaborn's "colorblind" hues. TCMax and its closest rivals have fixed ones; other methods take the rest as they come.
_HUES: tuple[str, ...] = tuple(sns.color_palette("colorblind").as_hex())
_FIXED = {
    "tcmax": (_HUES[3], "D"),
    "unimodal": (_HUES[0], "^"),
    "joint": (_HUES[2], "o"),
    "ogm-ge": (_HUES[4], "s"),
    "ogm": (_HUES[5], "P"),
}
_FREE = tuple(zip((_HUES[i] for i in (1, 9, 7, 6, 8)), "vX<>*", strict=True))
Line = str | tuple[int, tuple[float, ...]]
_LINES: tuple[Line, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), "-.", (0, (6, 1, 1, 1)))

INK = "#1b1f24"  # axes and text; the page replaces it by its own text colour
MUTED = "#7a828c"
PAPER = "#fffffe"  # fills that hide what is behind them; the page replaces it by its background
BAND = "#c9ced6"


@dataclass(frozen=True)
class Style:
    """How a variant is drawn."""

    colour: str
    marker: str
    line: Line


def styles(experiment: Experiment) -> dict[str, Style]:
    """Variant label -> style, for all variants of an experiment."""
    variants = experiment.settings.variants
    by_method: dict[str, list[str]] = {}
    for label, settings in variants.items():
        by_method.setdefault(settings.method, []).append(label)
    free = [method for method in by_method if method not in _FIXED]
    styles = {**_FIXED, **{method: _FREE[k % len(_FREE)] for k, method in enumerate(free)}}
    found = {}
    for method, labels in by_method.items():
        hue, marker = styles[method]
        for k, label in enumerate(labels):
            shade = 0.0 if len(labels) <= 2 else 0.5 * (1 - k / (len(labels) - 1))
            found[label] = Style(_lighter(hue, shade), marker, _LINES[k % len(_LINES)])
    return {label: found[label] for label in variants}


def _lighter(colour: str, share: float) -> str:
    """`colour` mixed with white; share 0 is the colour itself."""
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(c + (255 - c) * share):02x}" for c in channels)
