"""Datasets: one file per dataset, all handing out a `tcmax.data.base.Dataset`.

To add one, write a module with a function that takes no argument and a line in DATASETS (docs/add-a-dataset.md).
"""

from tcmax.registry import Entry, Table

DATASETS = Table(
    kind="dataset",
    group="tcmax.datasets",
    entries={
        "digits-halves": Entry("tcmax.data.digits:halves"),
        "digits-quadrants": Entry("tcmax.data.digits:quadrants"),
        "digits-noisy": Entry("tcmax.data.digits:noisy"),
        "av-digits": Entry("tcmax.data.av_digits:load", aliases=("AV-MNIST-style digits", "avdigits")),
    },
)
