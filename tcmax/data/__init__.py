"""Datasets: one file per dataset, all handing out a `tcmax.data.base.Dataset`.

To add one, write a module with a function that takes no argument and a line in DATASETS (docs/add-a-dataset.md).
"""

from tcmax.registry import Entry, NameTable

DATASETS = NameTable(
    kind="dataset",
    group="tcmax.datasets",
    entries={
        "digits-halves": Entry("tcmax.data.digits:halves"),
        "digits-quadrants": Entry("tcmax.data.digits:quadrants"),
        "digits-noisy": Entry("tcmax.data.digits:noisy"),
        "av-digits": Entry("tcmax.data.av_digits:load", aliases=("AV-MNIST-style digits", "avdigits")),
        "av-digits-first-fold": Entry("tcmax.data.av_digits:first_fold"),
        "mfeat-2": Entry("tcmax.data.mfeat:two"),
        "mfeat-3": Entry("tcmax.data.mfeat:three"),
        "mfeat-4": Entry("tcmax.data.mfeat:four"),
        "mfeat-5": Entry("tcmax.data.mfeat:five"),
        "mfeat-6": Entry("tcmax.data.mfeat:six", aliases=("mfeat", "handwritten")),
        "leaves100": Entry("tcmax.data.leaves100:load", aliases=("100Leaves",)),
        "newsgroups-m5": Entry("tcmax.data.newsgroups_m5:load", aliases=("News-M5", "NGs")),
        "mosi-features": Entry("tcmax.data.mosi:load"),
        "mvsa-single-rn50": Entry("tcmax.data.mvsa:rn50"),
        "mvsa-single-vit-b-32": Entry("tcmax.data.mvsa:vit_b_32"),
        "clip-like-features": Entry("tcmax.data.clip_like:load"),
        "crema-d-ratings": Entry("tcmax.data.crema_d_ratings:load"),
        "grid-letters": Entry("tcmax.data.grid_letters:quiet"),
        "grid-letters-5db": Entry("tcmax.data.grid_letters:noise_5db"),
        "grid-letters-0db": Entry("tcmax.data.grid_letters:noise_0db"),
        "grid-letters-minus5db": Entry("tcmax.data.grid_letters:noise_minus5db"),
        # On stores of raw media: `tcmax prepare DATASET --source MEDIA`.
        "crema-d": Entry("tcmax.data.media.prepared:crema_d", aliases=("CREMAD",)),
        "crema-d-actors": Entry("tcmax.data.media.prepared:crema_d_actors"),
        "ave": Entry("tcmax.data.media.prepared:ave"),
        "ave-once": Entry("tcmax.data.media.prepared:ave_once"),
        "kinetics-sounds": Entry("tcmax.data.media.prepared:kinetics_sounds", aliases=("KS", "KineticsSound")),
        "vggsound": Entry("tcmax.data.media.prepared:vggsound"),
        "ucf101": Entry("tcmax.data.media.prepared:ucf101"),
        "ucf101-groups": Entry("tcmax.data.media.prepared:ucf101_groups"),
        "law-xor": Entry("tcmax.data.laws:xor", aliases=("xor",)),
        "law-synergy-0": Entry("tcmax.data.laws:synergy_0"),
        "law-synergy-25": Entry("tcmax.data.laws:synergy_25"),
        "law-synergy-75": Entry("tcmax.data.laws:synergy_75"),
        "law-redundant": Entry("tcmax.data.laws:redundant"),
        "law-unique": Entry("tcmax.data.laws:unique"),
        "law-synergistic": Entry("tcmax.data.laws:synergistic"),
        "law-imbalance-1": Entry("tcmax.data.laws:imbalance_1"),
        "law-imbalance-4": Entry("tcmax.data.laws:imbalance_4"),
        "law-imbalance-16": Entry("tcmax.data.laws:imbalance_16"),
    },
)
