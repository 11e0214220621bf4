"""Can a printed accuracy be the mean of correct-answer counts? (GRIM), and what does that say about n?

An accuracy on n items is k/n; the mean over r runs on the same items is K/(rn) with an integer K. A value between
two such steps cannot have been observed. The check has power only where the steps are coarser than the last
printed digit, so every result here comes with the share of values that pass by construction.

Source: Brown and Heathers, "The GRIM test", Social Psychological and Personality Science 8 (2017); the check on
spreads follows the parity argument of Anaya's GRIMMER (2016), applied here to counts with a known mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from tcmax.audit.rounding import Interval, PrintedNumber, Rule


@dataclass(frozen=True)
class Grim:
    """Whether one printed mean is reachable, and by which totals.

    consistent: some integer total K prints like this. totals: how many do. step: distance between reachable means,
    in the table's unit. nearest: the reachable mean closest to the printed one; distance: how far off it is.
    """

    consistent: bool
    totals: int
    step: float
    nearest: float
    distance: float


@dataclass(frozen=True)
class GrimPower:
    """How many of the printable values in a range are reachable, hence how much the check can say.

    share: reachable / printable, the chance that a value typed at random passes. silent: all pass, so that a pass
    means nothing and no failure is possible.
    """

    reachable: int
    printable: int
    share: float
    silent: bool


@dataclass(frozen=True)
class Denominator:
    """What a set of printed means says about one candidate test size.

    reached: how many of `cells` are reachable. expected: how many would be by chance. chance: probability of at
    least `reached` by chance, for this one size named beforehand (multiply by the number of sizes looked at).
    log_likelihood: natural log of P(prints | n) over P(prints | n so large that every value is reachable); 0 says
    that the prints cannot speak about this size. share: chance that one value passes.
    """

    n_items: int
    reached: int
    cells: int
    expected: float
    chance: float
    log_likelihood: float
    share: float


def _check_sizes(n_items: int, n_runs: int) -> None:
    if n_items < 1 or n_runs < 1:
        raise ValueError(f"n_items and n_runs must be at least 1, got {n_items} and {n_runs}")


def _totals_inside(interval: Interval, n_items: int, n_runs: int, scale: int) -> range:
    """The integers K, 0 <= K <= n_items * n_runs, with scale * K / (n_items * n_runs) inside `interval`."""
    total = n_items * n_runs
    low, high = interval.low * total / scale, interval.high * total / scale
    first, last = math.ceil(low), math.floor(high)
    if first == low and not interval.low_closed:
        first += 1
    if last == high and not interval.high_closed:
        last -= 1
    return range(max(first, 0), min(last, total) + 1)


def _weight(printed: PrintedNumber, n_items: int, n_runs: int, scale: int, rule: Rule) -> float:
    """How many totals print like this; under `nearest` a tie is shared evenly by its two neighbours."""
    interval = printed.interval(rule)
    totals = _totals_inside(interval, n_items, n_runs, scale)
    if rule != "nearest" or not totals:
        return float(len(totals))
    ties = {interval.low, interval.high} & {
        Fraction(scale * total, n_items * n_runs) for total in (totals[0], totals[-1])
    }
    return len(totals) - len(ties) / 2


def grim(printed: PrintedNumber, n_items: int, n_runs: int = 1, *, scale: int = 100, rule: Rule = "nearest") -> Grim:
    """Is a printed accuracy reachable as scale * K / (n_runs * n_items) with an integer K?

    printed: the mean over `n_runs` runs of an accuracy on the same `n_items` items, rounded once, at the end.
    scale: 100 for percent, 1 for proportions. A failure means a misprint, another n, unequal n over runs, items
    weighted unequally, or rounding twice (see `reachable_if_rounded_first`). A pass means little unless `grim_power`
    is far below 1. Exact rational arithmetic; no error at any n.

    Raises ValueError for n_items < 1 or n_runs < 1. Oracle: enumeration of all totals with decimal rounding.
    """
    _check_sizes(n_items, n_runs)
    totals = _totals_inside(printed.interval(rule), n_items, n_runs, scale)
    step = Fraction(scale, n_items * n_runs)
    closest = min(max(round(printed.value / step), 0), n_items * n_runs) * step
    return Grim(
        consistent=len(totals) > 0,
        totals=len(totals),
        step=float(step),
        nearest=float(closest),
        distance=float(abs(closest - printed.value)),
    )


def grim_power(
    n_items: int,
    n_runs: int,
    decimals: int,
    *,
    scale: int = 100,
    rule: Rule = "nearest",
    low: Fraction | None = None,
    high: Fraction | None = None,
) -> GrimPower:
    """Which share of the printable values in [low, high] passes GRIM by construction?

    low, high: a tenth of the scale and one printed step below the whole scale unless given, i.e. the 900 values
    10.0 ... 99.9 for one decimal in percent. Under `nearest` a tie reaches both neighbours.

    Raises ValueError for sizes below 1 and for an empty range. Oracle: the set of decimal-rounded means of all totals.
    """
    _check_sizes(n_items, n_runs)
    unit = Fraction(10) ** -decimals
    first = math.ceil((Fraction(scale, 10) if low is None else low) / unit)
    last = math.floor((scale - unit if high is None else high) / unit)
    if last < first:
        raise ValueError("no printable value in the range")
    total = n_items * n_runs
    # A mean scale*K/total stands at scale*K/(total*unit) = K*a/b printed steps.
    steps = Fraction(scale) / (total * unit)
    a, b = steps.numerator, steps.denominator
    position = np.arange(total + 1, dtype=np.int64) * a
    whole, rest = np.divmod(position, b)
    if rule == "truncate":
        printed = whole
    elif rule == "half_up":
        printed = whole + (2 * rest >= b)
    elif rule == "half_even":
        printed = whole + ((2 * rest > b) | ((2 * rest == b) & (whole % 2 == 1)))
    else:
        printed = np.concatenate([whole + (2 * rest >= b), whole + (2 * rest > b)])
    inside = printed[(printed >= first) & (printed <= last)]
    reachable = len(np.unique(inside))
    printable = last - first + 1
    return GrimPower(reachable, printable, reachable / printable, reachable == printable)


def _chance_of_at_least(successes: int, shares: Sequence[float]) -> float:
    """P(at least `successes`) for independent trials with the given chances (Poisson binomial)."""
    distribution = np.ones(1)
    for share in shares:
        distribution = np.convolve(distribution, [1 - share, share])
    return float(min(1.0, distribution[successes:].sum()))


def recovered_denominator(
    printed: Sequence[PrintedNumber],
    candidates: Sequence[int],
    n_runs: int = 1,
    *,
    scale: int = 100,
    rule: Rule = "nearest",
    misprint: float = 0.05,
) -> tuple[Denominator, ...]:
    """Which test sizes do the printed means speak for? One row per candidate, in the order given.

    Model: each cell is, independently, the rounded mean of a total K, or with probability `misprint` any printable
    value. Against "n so large that every value is reachable" the likelihood ratio of a cell is
    (1 - misprint) * (totals that print like it) / (mean number of totals per printed step) + misprint.
    Sizes for which all values are reachable have log-likelihood near 0 whatever the truth: a large n can never be
    ruled out, only outbid. Sizes whose steps align near the printed values cannot be told apart (519 and 521 around
    80 %, ten runs). The cells' roundings are taken as independent; read differences below about 3 as nothing.

    Raises ValueError for no cells, sizes below 1 or misprint outside (0, 1).
    """
    if not printed:
        raise ValueError("no printed values to recover a test size from")
    if not 0 < misprint < 1:
        raise ValueError(f"misprint must lie strictly between 0 and 1, got {misprint}")
    rows = []
    for n_items in candidates:
        powers = {
            decimals: grim_power(n_items, n_runs, decimals, scale=scale, rule=rule)
            for decimals in {number.decimals for number in printed}
        }
        shares = [powers[number.decimals].share for number in printed]
        weights = [_weight(number, n_items, n_runs, scale, rule) for number in printed]
        per_step = [float(n_items * n_runs * number.unit / scale) for number in printed]
        reached = sum(weight > 0 for weight in weights)
        rows.append(
            Denominator(
                n_items=n_items,
                reached=reached,
                cells=len(printed),
                expected=sum(shares),
                chance=_chance_of_at_least(reached, shares),
                log_likelihood=sum(
                    math.log((1 - misprint) * weight / mean + misprint)
                    for weight, mean in zip(weights, per_step, strict=True)
                ),
                share=sum(shares) / len(shares),
            )
        )
    return tuple(rows)


def reachable_if_rounded_first(
    printed: PrintedNumber,
    n_items: int,
    n_runs: int,
    first_decimals: int,
    *,
    scale: int = 100,
    rule: Rule = "nearest",
) -> bool:
    """Is a printed mean reachable if each run was rounded to `first_decimals` before averaging?

    The runs may differ freely, so this accepts more than a real log would; it can clear a value that fails `grim`,
    never accuse one. Exact: the set of all sums of `n_runs` rounded accuracies is built as a bit set.
    Raises ValueError for sizes below 1.
    """
    _check_sizes(n_items, n_runs)
    unit = Fraction(10) ** -first_decimals
    rounded = set()
    for correct in range(n_items + 1):
        steps = Fraction(scale * correct, n_items) / unit
        whole, rest = divmod(steps, 1)
        if rest <= Fraction(1, 2):
            rounded.add(int(whole))
        if rest >= Fraction(1, 2):
            rounded.add(int(whole) + 1)
    sums = 1
    for _ in range(n_runs):
        reached = 0
        for value in rounded:
            reached |= sums << value
        sums = reached
    interval = printed.interval(rule)
    first = math.floor(interval.low * n_runs / unit)
    last = math.ceil(interval.high * n_runs / unit)
    return any(
        sums >> total & 1 and interval.contains(total * unit / n_runs) for total in range(max(first, 0), last + 1)
    )


def halfwidth_reachable(
    mean: PrintedNumber,
    halfwidth: PrintedNumber,
    n_items: int,
    n_runs: int,
    multiplier: float,
    *,
    scale: int = 100,
    rule: Rule = "nearest",
) -> bool:
    """Can integer counts with this printed mean have this printed spread?

    halfwidth = multiplier * sd / sqrt(n_runs), sd with n_runs - 1 in the denominator, in the unit of `scale`
    (multiplier = sqrt(n_runs) checks a printed sd, 1 a standard error, the t quantile a confidence half-width).
    With counts k_i, K = sum k_i and Q = sum k_i^2: sd^2 = (Q - K^2/n_runs) / (n_runs - 1), and Q has the parity of K
    and is at least that of counts as equal as they can be. Necessary, not sufficient. If the mean itself is out of
    reach, the two totals nearest to it stand in, so that one misfit is not counted twice.

    Raises ValueError for n_runs < 2, n_items < 1 or a multiplier that is not positive.
    """
    _check_sizes(n_items, n_runs)
    if n_runs < 2:
        raise ValueError("a spread needs at least 2 runs")
    if not multiplier > 0:
        raise ValueError(f"multiplier must be positive, got {multiplier}")
    totals: Sequence[int] = _totals_inside(mean.interval(rule), n_items, n_runs, scale)
    if not totals:
        below = math.floor(mean.value * n_items * n_runs / scale)
        totals = (below, below + 1)
    interval = halfwidth.interval(rule)
    per_halfwidth = math.sqrt(n_runs) * n_items / (scale * multiplier)  # sd in counts per unit of half-width
    sd_low, sd_high = max(float(interval.low), 0.0) * per_halfwidth, float(interval.high) * per_halfwidth
    for total in totals:
        share, larger = divmod(total, n_runs)
        floor = (n_runs - larger) * share**2 + larger * (share + 1) ** 2
        base = total * total / n_runs
        first = max(math.ceil((n_runs - 1) * sd_low**2 + base), floor)
        first += (first - total) % 2
        if first <= (n_runs - 1) * sd_high**2 + base:
            return True
    return False
