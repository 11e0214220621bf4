"""CMU-MOSI: 2,199 opinion utterances of 93 film reviews, one feature vector each of text, sound and video.

The class is the sign of the sentiment. Layout below the data root: cmu_mosi_features/mosi_utterance_features.npz.

Split: test is the source's (31 videos). Of the source's 62 train videos, the twelve that come first in the order of the
SHA-256 of "mosi/<video>" validate. Features are standardised by the train part.
"""

from pathlib import Path

import numpy as np

from tcmax.data.base import Card, Dataset, Fold
from tcmax.data.feature_sets import PublishedArrays, hash_order, standardised, with_facts

CARD = Card(
    title="CMU-MOSI, utterance features of text, audio and video",
    licence="MIT (the repository that published the features); the corpus has terms of its own",
    source="github.com/declare-lab/multimodal-deep-learning at 111b401d, bc-LSTM/data",
    citation=(
        "A. Zadeh et al., MOSI: Multimodal Corpus of Sentiment Intensity and Subjectivity Analysis in Online Opinion "
        "Videos, arXiv 1606.06259, 2016; features: S. Poria et al., Context-Dependent Sentiment Analysis in "
        "User-Generated Videos, ACL 2017"
    ),
    notes=(
        "Validation is this package's choice: 12 of the source's 62 train videos, by a hash of the video.",
        "The text features come from a network trained with the labels of the source's train videos, so on train and "
        "validation text looks almost solved: accuracies on validation are far above those on test.",
        "Some of the 89 speakers made several videos, and which is not recorded: speakers may be on both sides.",
        "Classes shift: 49.0 % of the source's train utterances are positive, 62.1 % of test. Read balanced accuracy.",
    ),
)
VALIDATION_VIDEOS = 12

FILE = PublishedArrays(
    "mosi-features",
    "cmu_mosi_features/mosi_utterance_features.npz",
    {
        "text": "b5334fa308cea6b33cda1bbe67385681b5d32cc7f8374be3e72b1b95bd2520cf",
        "audio": "5ead87b99e2436a6a62b88f769e472836472187f702f0a22c714a47eb26233e2",
        "video": "8cd0108841a499308b4c134a33322982952c08ddfb0c77b73ccdde177f850c97",
        "label": "1c8077a5229c64b42c2a635ad6aacccd267d0940b4d8633fdf62ae27f8f54121",
        "split": "5479ca3e926e5910af434462ef2d58b9d4edf1874abf4454824c84abd801578c",
        "video_id": "e8418e3b3d12acfc07790856f693c4c0d66ac7e1030d5594dd186142a6ce1eb7",
        "utterance": "fdf86f7bef0858b0bb261881b4a9d042d49957f71eddba8adf24858a5e73116b",
    },
)


def load(root: Path | None = None) -> Dataset:
    """Modalities "text" (2199, 100), "audio" (2199, 73), "video" (2199, 100) float32; group "video".

    Raises TcmaxError as `PublishedArrays.read` does.
    """
    arrays = FILE.read(root)
    video, is_test = arrays["video_id"], arrays["split"] == 1
    train_videos = np.unique(video[~is_test])
    validating = np.isin(video, train_videos[hash_order("mosi", train_videos)[:VALIDATION_VIDEOS]])
    fold = Fold(
        train=np.flatnonzero(~is_test & ~validating),
        val=np.flatnonzero(~is_test & validating),
        test=np.flatnonzero(is_test),
    )
    dataset = Dataset(
        id="mosi-features",
        inputs={name: standardised(arrays[name], fold.train) for name in ("text", "audio", "video")},
        labels=arrays["label"].astype(np.int64),
        class_names=("negative", "positive"),
        items=np.array([f"{one}_{number}" for one, number in zip(video, arrays["utterance"], strict=True)]),
        folds=(fold,),
        card=CARD,
        groups={"video": video},
    )
    shares = ", ".join(f"{part} {dataset.labels[fold.part(part)].mean():.1%}" for part in ("train", "val", "test"))
    return with_facts(dataset, f"positive utterances: {shares}")
