"""Fusion heads: features of all modalities to unimodal and joint logits. One file per head, listed in HEADS."""

from tcmax.registry import Entry, Table

HEADS = Table(
    kind="fusion head",
    group="tcmax.fusion",
    entries={
        "concat": Entry("tcmax.fusion.concat:Concat"),
        "shared-head": Entry("tcmax.fusion.shared_head:SharedHead", aliases=("share head", "ShareHead")),
        "sum": Entry("tcmax.fusion.sum:Sum"),
        "film": Entry("tcmax.fusion.film:FiLM"),
        "gated": Entry("tcmax.fusion.gated:Gated"),
        "bigated": Entry("tcmax.fusion.gated:BiGated", aliases=("bi-gated",)),
        "prototype": Entry("tcmax.fusion.prototype:Prototype", aliases=("CLIP-style",)),
        "concat-msh": Entry("tcmax.fusion.concat_msh:ConcatMSH", aliases=("multi-single-head",)),
        "concat-aux": Entry("tcmax.fusion.concat_aux:ConcatAuxiliary"),
        "shared-mlp": Entry("tcmax.fusion.shared_mlp:SharedMLP"),
        "cosine": Entry("tcmax.fusion.cosine:Cosine"),
    },
)
