"""Training methods: one file per method, listed in METHODS. To add one, see docs/add-a-method.md."""

from tcmax.registry import Entry, Table

METHODS = Table(
    kind="method",
    group="tcmax.methods",
    entries={
        "joint": Entry("tcmax.methods.joint:Joint", aliases=("joint learning", "joint-training", "CE")),
        "ogm": Entry("tcmax.methods.ogm:OGM"),
        "ogm-ge": Entry("tcmax.methods.ogm:OGMGE"),
        "unimodal": Entry("tcmax.methods.unimodal:UnimodalEnsemble", aliases=("unimodal ensemble",)),
        "tcmax": Entry("tcmax.methods.tcmax:TCMax", aliases=("total correlation maximization",)),
    },
)
