"""Encoders: one modality's input to a feature vector. One file per architecture, listed in ENCODERS."""

from tcmax.registry import Entry, Table

ENCODERS = Table(
    kind="encoder",
    group="tcmax.encoders",
    entries={
        "mlp": Entry("tcmax.encoders.mlp:MLP"),
        "cnn": Entry("tcmax.encoders.cnn:CNN"),
        "resnet18": Entry("tcmax.encoders.resnet:ResNet18"),
        "linear": Entry("tcmax.encoders.linear:Linear"),
        "identity": Entry("tcmax.encoders.identity:Identity"),
    },
)
