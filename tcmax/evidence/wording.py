"""How values are said in sentences: differences with their unit, names of variants and datasets, remarks about choices.

Records hold values; whoever shows them chooses the names. `PLAIN` has the labels of the experiment file, as terminals
and notes do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Names:
    """How variants and datasets are called, and how "a minus b" and a negative number are written."""

    variant: Callable[[str], str]
    dataset: Callable[[str], str]
    minus: str = " minus "
    sign: str = "-"

    def arm(self, label: str, members: list[str] | tuple[str, ...] | None = None) -> str:
        """A variant, or the best of several; members: the variants of an arm that has more than one."""
        return self.variant(label) if members is None else f"best of {', '.join(map(self.variant, members))}"

    def number(self, text: str) -> str:
        """A number as text, with this minus sign."""
        return self.sign + text[1:] if text.startswith("-") else text


PLAIN = Names(str, str)


def shown(value: float, unit: str, low: float | None = None, high: float | None = None) -> str:
    """A signed difference with its interval and unit; proportions in percentage points ("pp")."""
    digits = "+.2f" if unit == "proportion" else "+.4g"
    scale = 100 if unit == "proportion" else 1
    text = format(scale * value + 0.0, digits)
    if low is not None and high is not None:
        text += f" [{format(scale * low, digits)}, {format(scale * high, digits)}]"
    return f"{text} {'pp' if unit == 'proportion' else unit}".rstrip()


@dataclass(frozen=True)
class Remark:
    """Something about a comparison that a reader of its verdict should know, as values.

    chosen       variants, and in how many seeds (counts) validation chose each
    optimism     value, in `unit`: what choosing on the test set would have added
    unstable     a variant, and how many times (value) as far as its rivals' its seeds spread in accuracy
    few groups   counts: groups of items; value: how many equal ones they are worth
    ranks        Wilcoxon's signed ranks over counts[0] datasets; value: p
    floor        value: least p of a sign-flip test over counts[0] datasets
    same items   all datasets hold the same items

    dataset: of which dataset, where a comparison is about several.
    """

    kind: Literal["chosen", "optimism", "unstable", "few groups", "ranks", "floor", "same items"]
    variants: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    value: float | None = None
    unit: str = ""
    dataset: str | None = None

    def __str__(self) -> str:
        return self.in_words(PLAIN)

    def in_words(self, names: Names) -> str:
        """The remark as part of a sentence."""
        where = "" if self.dataset is None else f"{names.dataset(self.dataset)}: "
        return f"{where}{_SENTENCES[self.kind](self, names)}"


def _chosen(remark: Remark, names: Names) -> str:
    counted = zip(remark.variants, remark.counts, strict=True)
    return "chosen on validation within each seed: " + ", ".join(f"{names.variant(v)} {n}" for v, n in counted)


def _optimism(remark: Remark, names: Names) -> str:
    return f"choosing on test would add {names.number(shown(remark.value or 0.0, remark.unit))}"


def _few_groups(remark: Remark, names: Names) -> str:
    (n,) = remark.counts
    unequal = "" if remark.value == n else f": {n} unequal ones are worth {remark.value:.1f}"
    return f"fewer than 10 groups{unequal}"


def _unstable(remark: Remark, names: Names) -> str:
    (variant,) = remark.variants
    return (
        f"{names.variant(variant)} trained unstably at these settings: its seeds spread {remark.value:.1f} times as "
        "far in accuracy as its rivals'"
    )


_SENTENCES: dict[str, Callable[[Remark, Names], str]] = {
    "chosen": _chosen,
    "optimism": _optimism,
    "unstable": _unstable,
    "few groups": _few_groups,
    "ranks": lambda remark, _: f"Wilcoxon's signed ranks over {remark.counts[0]} datasets p {remark.value:.3g}",
    "floor": lambda remark, _: f"sign-flip floor over {remark.counts[0]} datasets {remark.value:g}",
    "same items": lambda remark, _: "all datasets hold the same items: they are no sample of datasets",
}
