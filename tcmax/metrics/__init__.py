"""From logits alone: correctness, log-loss, calibration, entropy and divergence of every test item and run.

One concept per file, each a few pure functions of logits (..., items, classes); `scoring` is the stage that applies
them to every run of a dataset, and `item_scores` is how statistics read the result. `METRICS` lists every metric of
SCORES.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric of SCORES.

    title: what a table calls it.
    unit: "proportion", "nats", "bits", or "" for a number without one.
    better: which direction is good; None where none is (a divergence, an entropy).
    item_column: the metric of ITEM SCORES whose mean over items it is; None where it is no such mean.
    """

    title: str
    unit: Literal["proportion", "nats", "bits", ""]
    better: Literal["higher", "lower"] | None
    item_column: str | None = None


METRICS: dict[str, Metric] = {
    "accuracy": Metric("Accuracy", "proportion", "higher", "correct"),
    "balanced_accuracy": Metric("Balanced accuracy", "proportion", "higher"),
    "macro_f1": Metric("Macro F1", "proportion", "higher"),
    "nll": Metric("Negative log-likelihood", "nats", "lower", "nll"),
    "nll_calibrated": Metric("Negative log-likelihood, calibrated", "nats", "lower", "nll_calibrated"),
    "brier": Metric("Brier score", "", "lower", "brier"),
    "ece": Metric("Expected calibration error", "proportion", "lower"),
    "ece_calibrated": Metric("Expected calibration error, calibrated", "proportion", "lower"),
    "ece_if_calibrated": Metric("Calibration error that sampling alone would show", "proportion", None),
    "confidence": Metric("Confidence", "proportion", None, "confidence"),
    "entropy": Metric("Entropy", "nats", None, "entropy"),
    "entropy_calibrated": Metric("Entropy, calibrated", "nats", None, "entropy_calibrated"),
    "temperature": Metric("Temperature", "", None),
    "temperature_at_bound": Metric("Temperature fits that ended at a bound", "proportion", "lower"),
    "logit_scale": Metric("Norm of the logits", "", None),
    "negative_weights": Metric("Items with a negative energy weight", "proportion", None),
    "js": Metric("Jensen-Shannon divergence", "nats", None, "js"),
    "js_bits": Metric("Jensen-Shannon divergence", "bits", None),
    "js_calibrated": Metric("Jensen-Shannon divergence, calibrated", "nats", None, "js_calibrated"),
    "js_pairwise": Metric("Jensen-Shannon divergence, mean over pairs", "nats", None, "js_pairwise"),
    "entropy_ratio": Metric("Entropy ratio weak / strong, by the reference variant", "", None),
    "entropy_ratio_own": Metric("Entropy ratio weak / strong, by the variant itself", "", None),
    "entropy_ratio_calibrated": Metric("Entropy ratio weak / strong, by the reference variant, calibrated", "", None),
    "diverged": Metric("Diverged", "proportion", "lower"),
}

# Metrics of all modalities together: their read-out is "all".
WHOLE_ITEM = frozenset(
    {
        "js",
        "js_bits",
        "js_calibrated",
        "js_pairwise",
        "entropy_ratio",
        "entropy_ratio_own",
        "entropy_ratio_calibrated",
    }
)
