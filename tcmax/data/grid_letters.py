"""GRID letters: 1,000 spoken letters of one speaker with the video of his mouth, in quiet and in three levels of noise.

"audio" is the log-mel spectrogram of 0.48 s of speech around the letter, "video" the same 0.48 s of the mouth, twelve
grey frames; both truly recorded together. grid-letters is quiet; grid-letters-5db, -0db and -minus5db have white noise
added to the speech at that ratio of powers. Layout below the data root: grid_letters/grid_s1_letters.npz.

Folds: five, with 40 items of each class between them. Sentences were recorded in runs that share their first words,
head pose and pace; a run is a group and is never split. Fold k tests part k, validates on part k + 1 (cyclically) and
trains on the other three.
"""

from functools import partial
from pathlib import Path

import numpy as np

from tcmax.data.base import Card, Dataset
from tcmax.data.feature_sets import PublishedArrays, rotated_folds, with_facts
from tcmax.data.spectrogram import STEPS, LogMel
from tcmax.seeding import generator

CARD = Card(
    title="GRID letters: speech and lip video of one speaker",
    licence="CC BY 4.0 (the GRID corpus); changes: decoded, resampled, cropped, cut",
    source="github.com/TVR28/LipNet at 7cdd534e, data/s1: speaker s1 of the GRID corpus, Zenodo record 3625687",
    citation=(
        "M. Cooke, J. Barker, S. Cunningham, X. Shao, An audio-visual corpus for speech perception and automatic "
        "speech recognition, Journal of the Acoustical Society of America 120, 2006"
    ),
    notes=(
        "One speaker: results are about this man.",
        "Validation is this package's choice: the recording runs of the next fold.",
        "Letters last 0.18 s (median), so the window also holds the neighbouring words.",
        "Noise is part of the data: the same for every seed and method.",
    ),
)
LETTERS = "abcdefghijklmnopqrstuvxyz"  # the corpus has no w, whose name is long
# The usual frames of speech recognition: 25 ms every 10 ms.
log_mel = LogMel(sample_rate_hz=16_000, window=400, hop=160, frames=46, mels=40, lowest_hz=60.0, range_db=60.0)

FILE = PublishedArrays(
    "grid-letters",
    "grid_letters/grid_s1_letters.npz",
    {
        "audio": "ec4f50190951c18789521d30a826c04df8f4e0ba3f6d350b8888b7058bb6df8e",
        "video": "187870f09913c59e98a75b9192040cb75a23fd2bf98998c76178aa489070972a",
        "label": "d02052ef563f3bda0ee26be34ff448853d644b23e2a49e4e32686ce8da404fb0",
        "clip": "d1a04de8ca9a537c04f84bdf754d445b0fc65beac983eb9b156bf2c52dd01439",
        "group": "481f3fe446eac4205a5e2b152d2786d5f27c60c2efca019a8ac88bc3e991cfaa",
        "fold": "98f69fe27a6aa6f216af9b79b4accdd4e896ebc38b83a2303c183595d4364dde",
    },
)


def load(snr_db: float | None = None, root: Path | None = None) -> Dataset:
    """The set in quiet, or with white noise at `snr_db`.

    inputs: "audio" (1000, 1, 40, 46) float32, 1 being the spectrogram's range, each item with mean 0; "video"
    (1000, 12, 32, 48) float32, frames as channels, each item with mean 0 and standard deviation 1. Group "run".

    Raises TcmaxError as `PublishedArrays.read` does.
    """
    arrays = FILE.read(root)
    speech = arrays["audio"].astype(np.float64)
    if snr_db is not None:
        speech = with_noise(speech, snr_db)
    levels = log_mel(list(speech)).astype(np.float64)
    levels -= levels.mean(axis=(1, 2, 3), keepdims=True)
    part = arrays["fold"]
    dataset = Dataset(
        id="grid-letters" if snr_db is None else f"grid-letters-{snr_db:g}db".replace("--", "-minus"),
        inputs={"audio": levels.astype(np.float32), "video": _scaled(arrays["video"])},
        labels=arrays["label"].astype(np.int64),
        class_names=tuple(LETTERS),
        items=arrays["clip"],
        folds=rotated_folds(part),
        card=CARD,
        groups={"run": arrays["group"]},
    )
    return with_facts(dataset)


def with_noise(speech: np.ndarray, snr_db: float) -> np.ndarray:
    """Speech (N, samples) plus white Gaussian noise; the mean power of a row's speech is `snr_db` above its noise's.

    All levels share one noise, so that two of them differ in level alone.
    """
    noise = generator("data", "grid-letters", "noise").standard_normal(speech.shape)
    amplitude = np.sqrt((speech**2).mean(axis=1, keepdims=True) / (noise**2).mean(axis=1, keepdims=True))
    result: np.ndarray = speech + noise * amplitude * 10 ** (-snr_db / 20)
    return result


def _scaled(video: np.ndarray) -> np.ndarray:
    """Clips (N, ...) uint8, each with its own mean and standard deviation taken out; rounded to 1/STEPS."""
    pixels = video.reshape(len(video), -1).astype(np.float64)
    pixels = (pixels - pixels.mean(axis=1, keepdims=True)) / pixels.std(axis=1, keepdims=True)
    result: np.ndarray = (np.rint(pixels * STEPS) / STEPS).astype(np.float32).reshape(video.shape)
    return result


quiet, noise_5db, noise_0db, noise_minus5db = (partial(load, snr_db) for snr_db in (None, 5.0, 0.0, -5.0))
