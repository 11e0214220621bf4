"""Training methods: one file per method, listed in METHODS. To add one, see docs/add-a-method.md."""

from tcmax.registry import Entry, NameTable

METHODS = NameTable(
    kind="method",
    group="tcmax.methods",
    entries={
        "joint": Entry("tcmax.methods.joint:Joint", aliases=("joint learning", "joint-training", "CE")),
        "ogm": Entry("tcmax.methods.ogm:OGM"),
        "ogm-ge": Entry("tcmax.methods.ogm:OGMGE"),
        "agm": Entry("tcmax.methods.agm:AGM", aliases=("adaptive gradient modulation",)),
        "qmf": Entry("tcmax.methods.qmf:QMF", aliases=("quality-aware multimodal fusion",)),
        "opm": Entry("tcmax.methods.opm:OPM", aliases=("on-the-fly prediction modulation",)),
        "ogm-ge-opm": Entry("tcmax.methods.opm:OGMGEOPM", aliases=("OGM-GE+OPM",)),
        "mla": Entry("tcmax.methods.mla:MLA"),
        "mmpareto": Entry("tcmax.methods.mmpareto:MMPareto"),
        "unimodal": Entry("tcmax.methods.unimodal:UnimodalEnsemble", aliases=("unimodal ensemble",)),
        "mcr": Entry("tcmax.methods.mcr:MCR", aliases=("multimodal competition regularizer",)),
        "mlb": Entry("tcmax.methods.mlb:MLB", aliases=("multi-loss balanced",)),
        "pmr": Entry("tcmax.methods.pmr:PMR", aliases=("prototypical modal rebalance",)),
        "reconboost": Entry("tcmax.methods.reconboost:ReconBoost"),
        "mmcosine": Entry("tcmax.methods.mmcosine:MMCosine"),
        "g-blending": Entry("tcmax.methods.g_blending:GBlending", aliases=("gradient blending", "G-Blend")),
        "tcmax": Entry("tcmax.methods.tcmax:TCMax", aliases=("total correlation maximization",)),
    },
)
