"""CREMA-D as human raters heard and saw it: vote shares on the voice alone and on the face alone, 7,442 clips.

Modality "voice" holds the share of raters who chose each of six emotions on hearing the clip without its picture, and
"face" on seeing it without its sound; the class is the emotion that the actor intended. Layout below the data root:
crema_d/ratings.csv.

Folds: five, disjoint in actors and balanced by sex. Fold k tests the actors of part k, validates on those of part
k + 1 (cyclically), and trains on the other three.
"""

import csv
import hashlib
import io
from pathlib import Path

import numpy as np

from tcmax.data.base import Card, Dataset, data_root
from tcmax.data.feature_sets import SOURCES_PAGE, rotated_folds, with_facts
from tcmax.errors import TcmaxError
from tcmax.records.files import explained

CARD = Card(
    title="CREMA-D, human ratings of voice and face",
    licence="ODbL 1.0 (database) and DbCL 1.0 (contents); derived databases stay under ODbL",
    source="github.com/CheyneyComputerScience/CREMA-D at 1658cd34: tabulated votes, demographics",
    citation=(
        "H. Cao et al., CREMA-D: Crowd-Sourced Emotional Multimodal Actors Dataset, IEEE Transactions on Affective "
        "Computing 5(4), 2014"
    ),
    notes=(
        "The published list of 6,698 and 744 clips has every test actor in train; these folds have none.",
        "Validation is this package's choice: the actors of the next fold.",
        "Twelve sentences are spoken by every actor, so sentences are shared by all parts.",
        "Human ceiling: the most frequent audio-visual vote is the intended emotion in 72.2 % of the clips, the most "
        "frequent voice vote in 41.6 %, the most frequent face vote in 66.3 %.",
    ),
)
EMOTIONS = {"A": "anger", "D": "disgust", "F": "fear", "H": "happy", "N": "neutral", "S": "sad"}
FILE = "crema_d/ratings.csv"
COLUMNS = (
    "clip",
    "actor",
    "emotion",
    "actor_fold",
    *(f"{modality}_{letter}" for modality in ("voice", "face") for letter in EMOTIONS),
)
# Of the columns that are read, as lines of comma-separated text: neither line ends nor further columns matter.
CONTENT = "f3e6a7a74da8b7e0ac8ffb7f234164cfff2d7e51f276c4ec88fb3c85ca8bb95c"


def ratings(root: Path | None = None) -> list[dict[str, str]]:
    """Rows of the table of votes, checked.

    Raises TcmaxError when the root (default $TCMAX_DATA) is unknown, or the file is missing or of other content.
    """
    root = root or data_root()
    if root is None:
        raise TcmaxError(
            "crema-d-ratings needs a data root: set the environment variable TCMAX_DATA to the folder that holds "
            f"{FILE} ({SOURCES_PAGE})."
        )
    path = root / FILE
    if not path.is_file():
        raise TcmaxError(f"{path} is missing; {SOURCES_PAGE} says where crema-d-ratings comes from.")
    with explained("read", path):
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    rows = list(csv.DictReader(io.StringIO(text)))
    lines = "".join(",".join(row.get(column) or "" for column in COLUMNS) + "\n" for row in rows)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    if digest != CONTENT:
        raise TcmaxError(
            f"{path} does not hold the published votes (SHA-256 {digest[:12]}…, expected {CONTENT[:12]}…)."
        )
    return rows


def load(root: Path | None = None) -> Dataset:
    """Modalities "voice" and "face", each (7442, 6) float32 of shares that add up to 1; group "actor".

    Raises TcmaxError as `ratings` does.
    """
    rows = ratings(root)
    letters = list(EMOTIONS)

    def shares(modality: str) -> np.ndarray:
        votes = np.array([[int(row[f"{modality}_{letter}"]) for letter in letters] for row in rows], dtype=np.float64)
        result: np.ndarray = (votes / votes.sum(axis=1, keepdims=True)).astype(np.float32)
        return result

    part = np.array([int(row["actor_fold"]) for row in rows])
    dataset = Dataset(
        id="crema-d-ratings",
        inputs={modality: shares(modality) for modality in ("voice", "face")},
        labels=np.array([letters.index(row["emotion"][0]) for row in rows], dtype=np.int64),
        class_names=tuple(EMOTIONS.values()),
        items=np.array([row["clip"] for row in rows]),
        folds=rotated_folds(part),
        card=CARD,
        groups={"actor": np.array([row["actor"] for row in rows])},
    )
    return with_facts(dataset, "few raters a clip: shares are coarse, so equal rows of votes are common across parts")
