"""From logits alone: correctness, log-loss, calibration, entropy and divergence of every test item and run.

One concept per file, each a few pure functions of logits (..., items, classes); `scoring` is the stage that applies
them to every run of a dataset, and `item_scores` is how statistics read the result. `METRICS` lists every metric of
SCORES.
"""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric of SCORES, declared once: whatever reads, compares, claims, prints or plans it reads this.

    title: what a table calls it.
    unit: "proportion", "nats", "bits", or "" for a number without one.
    better: which direction is good; None where none is (a divergence, an entropy).
    item_column: the metric of ITEM SCORES whose mean over items it is; None where it is no such mean.
    from_columns: the metrics of ITEM SCORES that it is a function of, where it is no mean over items but follows from
        them; it then enters statistics by jackknife pseudo-values. With neither it is a property of whole runs.
    low, high: the least and the largest value; None where there is none.
    whole_item: whether it is of all modalities together: its read-out is then "all".
    """

    title: str
    unit: Literal["proportion", "nats", "bits", ""]
    better: Literal["higher", "lower"] | None
    item_column: str | None = None
    from_columns: tuple[str, ...] = ()
    low: float | None = 0.0
    high: float | None = None
    whole_item: bool = False

    @property
    def largest_difference(self) -> float:
        """How far two values can lie apart; infinite where the range is open."""
        return math.inf if self.low is None or self.high is None else self.high - self.low


def _proportion(
    title: str, better: Literal["higher", "lower"] | None, item_column: str | None = None, *from_columns: str
) -> Metric:
    return Metric(title, "proportion", better, item_column, from_columns, 0.0, 1.0)


def _ratio(title: str, entropy: str) -> Metric:
    return Metric(title, "", None, from_columns=(entropy,), whole_item=True)


def _divergence(title: str, unit: Literal["nats", "bits"], column: str | None, *from_columns: str) -> Metric:
    return Metric(title, unit, None, column, from_columns, whole_item=True)


METRICS: dict[str, Metric] = {
    "accuracy": _proportion("Accuracy", "higher", "correct"),
    "balanced_accuracy": _proportion("Balanced accuracy", "higher", None, "correct"),
    "macro_f1": _proportion("Macro F1", "higher"),
    "nll": Metric("Negative log-likelihood", "nats", "lower", "nll"),
    "nll_calibrated": Metric("Negative log-likelihood, calibrated", "nats", "lower", "nll_calibrated"),
    "brier": Metric("Brier score", "", "lower", "brier", high=2.0),
    "ece": _proportion("Expected calibration error", "lower", None, "confidence", "correct"),
    "ece_calibrated": _proportion("Expected calibration error, calibrated", "lower"),
    "ece_if_calibrated": _proportion("Calibration error that sampling alone would show", None),
    "confidence": _proportion("Confidence", None, "confidence"),
    "entropy": Metric("Entropy", "nats", None, "entropy"),
    "entropy_calibrated": Metric("Entropy, calibrated", "nats", None, "entropy_calibrated"),
    "temperature": Metric("Temperature", "", None),
    "temperature_at_bound": _proportion("Temperature fits that ended at a bound", "lower"),
    "logit_scale": Metric("Norm of the logits", "", None),
    "negative_weights": _proportion("Items with a negative energy weight", None),
    "js": _divergence("Jensen-Shannon divergence", "nats", "js"),
    "js_bits": _divergence("Jensen-Shannon divergence", "bits", None, "js"),
    "js_calibrated": _divergence("Jensen-Shannon divergence, calibrated", "nats", "js_calibrated"),
    "js_pairwise": _divergence("Jensen-Shannon divergence, mean over pairs", "nats", "js_pairwise"),
    "entropy_ratio": _ratio("Entropy ratio weak / strong, by the reference variant", "entropy"),
    "entropy_ratio_own": _ratio("Entropy ratio weak / strong, by the variant itself", "entropy"),
    "entropy_ratio_calibrated": _ratio(
        "Entropy ratio weak / strong, by the reference variant, calibrated", "entropy_calibrated"
    ),
    "diverged": _proportion("Diverged", "lower"),
}
