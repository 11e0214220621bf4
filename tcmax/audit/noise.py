"""How large a printed gap is beside the noise that no table prints: test items and seeds.

Averaging runs on one test set does not reduce the noise of that test set. Without per-item results the pairing of
two methods' errors is unknown, so the functions here bound rather than test: they say how much two methods would
have to agree, item by item or seed by seed, before a gap could reach an alpha.
"""

import math
from dataclasses import dataclass
from typing import Literal

from scipy import stats


def binomial_se(accuracy: float, n_items: int) -> float:
    """Standard error of an accuracy (a proportion in [0, 1]) over new draws of `n_items` items: sqrt(p(1-p)/n).

    At accuracies of 0 and 1, where that is zero, it is the length of Wilson's 95 % interval over the normal quantile
    z: z/(n + z^2). Items of one group (speaker, video) are taken as independent, which understates it. Raises
    ValueError for n_items < 1 or an accuracy outside [0, 1].
    """
    if n_items < 1:
        raise ValueError(f"n_items must be at least 1, got {n_items}")
    if not 0 <= accuracy <= 1:
        raise ValueError(f"an accuracy lies in [0, 1] as a proportion, got {accuracy}")
    if accuracy in (0, 1):
        z = float(stats.norm.isf(0.025))
        return z / (n_items + z**2)
    return math.sqrt(accuracy * (1 - accuracy) / n_items)


def break_even_discordance(gap: float, n_items: int, alpha: float = 0.05) -> float:
    """Largest share of items on which two single runs may disagree while a gap still reaches the alpha.

    The paired variance of a difference d with a share q of discordant items is (q - d^2)/n, so d^2 n/(q - d^2)
    reaches the chi-square quantile c at q = n d^2 / c + d^2 (c = 3.84 at 5 %). Values below |d| are impossible
    (a net gap of d needs at least that many discordant items): then no pairing can reach the alpha.
    Normal approximation; for fewer than about 10 discordant items the exact test is stricter still.
    Raises ValueError for n_items < 1, |gap| > 1 or an alpha outside (0, 1). gap as a proportion.
    """
    if n_items < 1 or abs(gap) > 1 or not 0 < alpha < 1:
        raise ValueError("break_even_discordance needs n_items >= 1, |gap| <= 1 and 0 < alpha < 1")
    return n_items * gap**2 / float(stats.chi2.isf(alpha, 1)) + gap**2


def break_even_seed_sd(gap: float, n_a: int, n_b: int, alpha: float = 0.05) -> float:
    """Largest common seed standard deviation at which Welch's test still reaches the alpha.

    With equal spreads s the test is |gap| / (s sqrt(1/n_a + 1/n_b)) on n_a + n_b - 2 degrees of freedom; equality
    with the two-sided t quantile gives s. Three against three: gap / 2.27. Same unit as `gap`.
    Raises ValueError for fewer than 2 runs or an alpha outside (0, 1).
    """
    if min(n_a, n_b) < 2 or not 0 < alpha < 1:
        raise ValueError("break_even_seed_sd needs at least 2 runs a side and 0 < alpha < 1")
    quantile = float(stats.t.isf(alpha / 2, n_a + n_b - 2))
    return abs(gap) / (quantile * math.sqrt(1 / n_a + 1 / n_b))


@dataclass(frozen=True)
class GapNoise:
    """A gap of two accuracies on one test set beside the binomial noise of that test set (all proportions).

    gap = better - other; items: gap * n; se: standard error of `better`; gap_in_se: gap / se; gap_in_unpaired_se:
    gap over the standard error of a difference of two independent samples; discordance: see
    `break_even_discordance`; pairing: could the items decide? "never" (the break-even discordance lies below |gap|),
    "always" (above every discordance the two accuracies allow), else "depends".
    """

    gap: float
    items: float
    se: float
    gap_in_se: float
    gap_in_unpaired_se: float
    discordance: float
    pairing: Literal["never", "depends", "always"]


def gap_noise(better: float, other: float, n_items: int, alpha: float = 0.05) -> GapNoise:
    """How large is better - other (two accuracies as proportions) against the noise of `n_items` test items?

    Standard errors are those of single accuracies on new items; runs averaged over seeds share their items. Raises
    ValueError as `binomial_se` and `break_even_discordance` do.
    """
    gap = better - other
    se, se_other = binomial_se(better, n_items), binomial_se(other, n_items)

    discordance = break_even_discordance(gap, n_items, alpha)
    most = min(better, 1 - other) + min(other, 1 - better)
    pairing: Literal["never", "depends", "always"] = "depends"
    if discordance < abs(gap) or gap == 0:
        pairing = "never"
    elif discordance >= most:
        pairing = "always"
    return GapNoise(gap, gap * n_items, se, gap / se, gap / math.hypot(se, se_other), discordance, pairing)
