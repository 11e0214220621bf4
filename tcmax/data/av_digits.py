"""AV-digits: a spoken digit (FSDD) with a handwritten digit (MNIST), 3,000 pairs, ten classes, six folds.

Layout below the data root (`tcmax data fetch av-digits` makes it from the public originals):

    fsdd/recordings.tar        3,000 wav files, {digit}_{speaker}_{take}.wav, mono, 16 bits, 8 kHz
    mnist/*-images-*.gz        MNIST's training and test images
    mnist/writers.npz          the NIST writer of each MNIST image, from QMNIST
    av_digits/pairs.csv        which image goes with which recording
    av_digits/folds.csv        which speaker tests and which validates

Roles. A recording has two images: one from MNIST's training set, used when the recording trains or validates, and one
from MNIST's test set, used when it tests. So each recording is two rows: "3_theo_17" (test role) and "3_theo_17@train".
Test parts are disjoint from the rest of their fold in speaker and in writer; their union over folds is every recording
once, in its test role.

Sound becomes a log-mel spectrogram on the same 0-1 scale as the image: see `tcmax.data.spectrogram`. Loudness, which
tells speakers apart, leaves no trace in it.
"""

import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from tcmax.data.base import Card, Dataset, Fold, data_root, overlap_facts
from tcmax.data.containers import gunzip, idx_array, pcm16_samples, tar_files
from tcmax.data.spectrogram import LogMel
from tcmax.errors import TcmaxError
from tcmax.records.files import explained

CARD = Card(
    title="AV-digits: spoken digits with handwritten digits",
    licence="sound CC BY-SA 4.0 (FSDD); images CC BY-SA 3.0 (MNIST); writers BSD-style (QMNIST); pairing CC BY-SA 4.0",
    source=(
        "github.com/Jakobovski/free-spoken-digit-dataset at 26eb9aaf; MNIST (Y. LeCun, C. Cortes, C. Burges); "
        "github.com/facebookresearch/qmnist at 94061367"
    ),
    citation=(
        "Z. Jackson et al., Free Spoken Digit Dataset, 2018, doi:10.5281/zenodo.1342401; "
        "Y. LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 86, 1998; "
        "C. Yadav and L. Bottou, Cold Case: The Lost MNIST Digits, NeurIPS 2019"
    ),
    notes=(
        "Sound and image come from different persons: given the digit they are independent by construction, so all "
        "dependence between the modalities goes through the label.",
        "Six speakers, all male: the effective sample size of a claim about new speakers is 6.",
        "Validation shares MNIST's training writers with train; test shares neither speaker nor writer with the rest.",
    ),
)

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
TAKES = 50
SAMPLE_RATE_HZ = 8_000
RECORDINGS = tuple(
    f"{digit}_{speaker}_{take}.wav" for digit in range(10) for speaker in SPEAKERS for take in range(TAKES)
)
_RECORDING_SET = frozenset(RECORDINGS)

# Spectrogram. Sizes are powers of two, so that halving by pooling loses nothing.
WINDOW = 256  # samples, 32 ms: two to three periods of a low male voice; no zero padding in the transform
HOP = 128  # samples, 16 ms
FRAMES = 64  # 1.04 s: 14 of the 3,000 recordings are longer (the longest 2.3 s) and lose their end
MELS = 40  # the finest usual resolution at which every filter still covers two bins of 31 Hz
LOWEST_HZ = 60.0  # below lies mains hum, no speech
RANGE_DB = 60.0  # below the item's peak; what is fainter is room noise and, for the quietest speakers, quantisation
log_mel = LogMel(SAMPLE_RATE_HZ, WINDOW, HOP, FRAMES, MELS, LOWEST_HZ, RANGE_DB)

# SHA-256 of decoded content: of the uncompressed idx file; of the lines "name sha256-of-samples" for the recordings;
# of arrays in the order of their names for writers; of the text for tables. How a file is compressed does not matter.
CONTENT = {
    "fsdd/recordings.tar": "7fc27a3e4afda9e1aeaaf2b2b8cd2afb7c2b9334fbe5a82a70c0ea6c6572e680",
    "mnist/train-images-idx3-ubyte.gz": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "mnist/t10k-images-idx3-ubyte.gz": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "mnist/writers.npz": "a66273b3fd750c386d37d2bfb6590d69eb7f718d649b333d794f2e52fa3e2b04",
    "av_digits/pairs.csv": "1d49c433ad5b80d82519f6da383f4c21db953165fda7f2e164cdc0b8864dc5e5",
    "av_digits/folds.csv": "7f91db0d46c6343d19ccbb27e42dcc5a84b7961dc71b53faef786ad242f694ab",
}
_LIMIT_BYTES = 64 * 2**20  # of uncompressed content; the largest file, the training images, has 47 MB

WRITER_ARRAYS = ("test_digit", "test_hsf", "test_writer", "train_digit", "train_hsf", "train_writer")


def load(root: Path | None = None) -> Dataset:
    """The dataset, from the data root (default $TCMAX_DATA), with every file it reads checked against CONTENT.

    inputs: "audio" (6000, 1, 40, 64) and "image" (6000, 1, 28, 28), float32 in [0, 1]; rows 0-2999 are the recordings
    in their train role, rows 3000-5999 the same recordings in their test role. Groups: speaker, and the writer of the
    image that the row shows.

    Raises TcmaxError when the root is unknown or a file is missing, damaged or not the published content.
    """
    root = root or data_root()
    if root is None:
        raise TcmaxError(
            "av-digits needs a data root: set the environment variable TCMAX_DATA to a folder and run "
            "`tcmax data fetch av-digits`."
        )
    pairs, folds = table(root, "av_digits/pairs.csv"), table(root, "av_digits/folds.csv")
    sounds = recordings(root)
    images = {
        "train": idx(root, "mnist/train-images-idx3-ubyte.gz"),
        "test": idx(root, "mnist/t10k-images-idx3-ubyte.gz"),
    }
    spectrograms = log_mel([sounds[pair["recording"]] for pair in pairs])

    column = {name: [pair[name] for pair in pairs] for name in pairs[0]}
    shown = [images[role][np.array(column[f"{role}_image"], dtype=np.int64)] for role in ("train", "test")]
    stems = [Path(recording).stem for recording in column["recording"]]
    plain = Dataset(
        id="av-digits",
        inputs={
            "audio": np.concatenate([spectrograms, spectrograms]),
            "image": (np.concatenate(shown)[:, None] / np.float32(255)).astype(np.float32),
        },
        labels=np.array(column["digit"] * 2, dtype=np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
        items=np.array([f"{stem}@train" for stem in stems] + stems),
        folds=_folds(folds, np.array(column["speaker"])),
        card=CARD,
        groups={
            "speaker": np.array(column["speaker"] * 2),
            "writer": np.array(column["train_writer"] + column["test_writer"]),
        },
    )
    return Dataset(**{**plain.__dict__, "facts": (*overlap_facts(plain), *CARD.notes)})


def first_fold(root: Path | None = None) -> Dataset:
    """The first of the six folds as a set of its own, for grids whose variants are too many for six.

    All test items are one speaker's, so the speaker is no grouping: what is found holds for this speaker.
    """
    whole = load(root)
    speakers = sorted(set(whole.groups["speaker"][whole.folds[0].test]))
    one = Dataset(
        **{
            **whole.__dict__,
            "id": "av-digits-first-fold",
            "folds": whole.folds[:1],
            "groups": {"writer": whole.groups["writer"]},
            "facts": (),
        }
    )
    note = f"One speaker, {speakers[0]}, speaks all test items: nothing here is about other speakers."
    return Dataset(**{**one.__dict__, "facts": (*overlap_facts(one), *CARD.notes, note)})


def _folds(rows: list[dict[str, str]], speaker: np.ndarray) -> tuple[Fold, ...]:
    """Folds over 2n rows, train roles first; `speaker` (n,) is the speaker of each recording."""
    return tuple(
        Fold(
            train=np.flatnonzero(np.isin(speaker, row["train_speakers"].split())),
            val=np.flatnonzero(speaker == row["val_speaker"]),
            test=np.flatnonzero(speaker == row["test_speaker"]) + len(speaker),
        )
        for row in rows
    )


def recordings(root: Path) -> dict[str, np.ndarray]:
    """File name -> samples (n,) int16 of the 3,000 recordings, checked."""
    path = _present(root, "fsdd/recordings.tar")
    return checked_samples(tar_files(path, recording_name, _LIMIT_BYTES), path)


def recording_name(member: str) -> str | None:
    """The recording that a path inside an archive stands for, if any."""
    folder, _, name = member.rpartition("/")
    return name if name in _RECORDING_SET and PurePosixPath(folder).name == "recordings" else None


def checked_samples(files: dict[str, bytes], origin: Path) -> dict[str, np.ndarray]:
    """Decode the 3,000 wav files and compare their samples with the published ones."""
    absent = [name for name in RECORDINGS if name not in files]
    if absent:
        raise TcmaxError(f"{origin} lacks {len(absent)} of {len(RECORDINGS)} recordings, the first being {absent[0]}.")
    samples = {name: pcm16_samples(files[name], f"{origin}: {name}", SAMPLE_RATE_HZ) for name in RECORDINGS}
    lines = "".join(f"{name} {hashlib.sha256(samples[name].tobytes()).hexdigest()}\n" for name in RECORDINGS)
    require_published("fsdd/recordings.tar", lines.encode(), origin)
    return samples


def idx(root: Path, file: str) -> np.ndarray:
    """Images (n, 28, 28) uint8 of MNIST's training or test set, checked."""
    return checked_idx(file, _present(root, file))


def checked_idx(file: str, path: Path) -> np.ndarray:
    """Decode the gzipped idx file at `path` and compare it with the published content of `file`."""
    content = gunzip(path, _LIMIT_BYTES)
    require_published(file, content, path)
    return idx_array(content, path)


def table(root: Path, file: str) -> list[dict[str, str]]:
    """Rows of pairs.csv or folds.csv, checked."""
    path = _present(root, file)
    with explained("read", path):
        text = path.read_text(encoding="utf-8", errors="replace")  # universal newlines
    require_published(file, text.encode(), path)
    return list(csv.DictReader(io.StringIO(text)))


def writers(root: Path) -> dict[str, np.ndarray]:
    """Digit, NIST series (hsf) and writer of each MNIST image, from QMNIST: arrays (60000,) and (10000,), checked."""
    path = _present(root, "mnist/writers.npz")
    try:
        with explained("read", path), np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in WRITER_ARRAYS}
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TcmaxError(f"{path} is not the table of writers ({error}).") from error
    require_published("mnist/writers.npz", writer_bytes(arrays), path)
    return arrays


def writer_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """What the checksum of the writers is over, whatever the integer types."""
    return b"".join(arrays[name].astype("<i4").tobytes() for name in WRITER_ARRAYS)


READERS: dict[str, Callable[[Path], object]] = {
    "fsdd/recordings.tar": recordings,
    **{file: partial(idx, file=file) for file in CONTENT if file.endswith("-ubyte.gz")},
    "mnist/writers.npz": writers,
    **{file: partial(table, file=file) for file in CONTENT if file.endswith(".csv")},
}


def _present(root: Path, file: str) -> Path:
    path = root / file
    if not path.is_file():
        raise TcmaxError(f"{path} is missing; run `tcmax data fetch av-digits` (TCMAX_DATA names the data root).")
    return path


def require_published(file: str, content: bytes, origin: Path | str) -> None:
    """Raise TcmaxError when `content`, decoded from `origin`, is not what CONTENT says of `file`."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != CONTENT[file]:
        raise TcmaxError(
            f"{origin} does not hold the published content of {Path(file).name} "
            f"(SHA-256 {digest[:12]}…, expected {CONTENT[file][:12]}…); run `tcmax data fetch av-digits`."
        )
