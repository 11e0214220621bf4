"""Fusion heads: features of all modalities to unimodal and joint logits. One file per head, listed in HEADS."""

from tcmax.registry import Entry, NameTable

HEADS = NameTable(
    kind="fusion head",
    group="tcmax.fusion",
    entries={
        "concat": Entry("tcmax.models.fusion.concat:Concat"),
        "shared-head": Entry("tcmax.models.fusion.shared_head:SharedHead", aliases=("share head", "ShareHead")),
        "sum": Entry("tcmax.models.fusion.sum:Sum"),
        "film": Entry("tcmax.models.fusion.film:FiLM"),
        "gated": Entry("tcmax.models.fusion.gated:Gated"),
        "bigated": Entry("tcmax.models.fusion.gated:BiGated", aliases=("bi-gated",)),
        "prototype": Entry("tcmax.models.fusion.prototype:Prototype", aliases=("CLIP-style",)),
        "concat-msh": Entry("tcmax.models.fusion.concat_msh:ConcatMSH", aliases=("multi-single-head",)),
        "concat-aux": Entry("tcmax.models.fusion.concat_aux:ConcatAuxiliary"),
        "shared-mlp": Entry("tcmax.models.fusion.shared_mlp:SharedMLP"),
        "cosine": Entry("tcmax.models.fusion.cosine:Cosine"),
    },
)
