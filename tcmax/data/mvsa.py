"""MVSA-Single: tweets of one image and one text with three sentiments, as features of frozen CLIP models (methods §5).

The feature file is made by `tcmax prepare mvsa-single` from images and texts as distributed
(`tcmax.data.media.tweets`), and read as any feature file of a user's.
"""

from dataclasses import replace
from pathlib import Path

from tcmax.data.base import Card, Dataset, data_root
from tcmax.data.features import load_features
from tcmax.errors import TcmaxError

ID = "mvsa-single"
CARD = Card(
    title="MVSA-Single: sentiment of tweets, features of a frozen CLIP model",
    licence="tweets belong to their authors; lists of the agreeing pairs MIT (QMF)",
    source="mcrlab.net/research/mvsa-sentiment-analysis-on-multi-view-social-data; lists: github.com/QingyangZhang/QMF",
    citation="T. Niu et al., Sentiment Analysis on Multi-View Social Data, MMM 2016",
    notes=(
        "Tweets whose text and image were labelled alike are kept by default: the modalities agree by construction.",
        "Some texts are tweeted several times, also across parts; the group `text` joins them.",
    ),
)
FEATURES = "features.npz"


def rn50() -> Dataset:
    """Features of CLIP's RN50, "image" and "text" (n, 1024)."""
    return _load("rn50")


def vit_b_32() -> Dataset:
    """Features of CLIP's ViT-B/32, "image" and "text" (n, 512)."""
    return _load("vit-b-32")


def store_of(model: str, root: Path) -> Path:
    """Where the features of a model stand unless the user says otherwise."""
    return root / "stores" / f"{ID}-{model}"


def command(model: str) -> str:
    """What makes the features of a model."""
    return f"tcmax prepare {ID} --source TWEETS --model {model} --weights FILE"


def _load(model: str) -> Dataset:
    root = data_root()
    if root is None:
        raise TcmaxError(f"{ID}-{model} needs a data root: set the environment variable TCMAX_DATA to a folder.")
    path = store_of(model, root) / FEATURES
    if not path.is_file():
        raise TcmaxError(f"{path} is missing; run `{command(model)}` (docs/raw-media.md).")
    dataset = load_features(path, f"{ID}-{model}")
    return replace(dataset, card=CARD, facts=(*dataset.facts, *CARD.notes))
