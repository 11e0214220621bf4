"""Encoders: one modality's input to a feature vector. One file per architecture, listed in ENCODERS."""

from tcmax.registry import Entry, NameTable

ENCODERS = NameTable(
    kind="encoder",
    group="tcmax.encoders",
    entries={
        "mlp": Entry("tcmax.models.encoders.mlp:MLP"),
        "cnn": Entry("tcmax.models.encoders.cnn:CNN"),
        "resnet18": Entry("tcmax.models.encoders.resnet:ResNet18"),
        "linear": Entry("tcmax.models.encoders.linear:Linear"),
        "identity": Entry("tcmax.models.encoders.identity:Identity"),
    },
)
