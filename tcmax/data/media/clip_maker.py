"""How a clip's media become the rows of a tensor store, as the papers describe it or as the released code does it.

Every released quirk is a row of QUIRKS, so that its effect can be measured alone. The random crop of sound is a pure
function of (set, clip, preprocessing seed): the released one was drawn without a seed, once, and kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.data.media import decoding
from tcmax.data.media.sound_crop import STFT_RATE_HZ, STFT_SHAPE, TILED_SECONDS, crop_start
from tcmax.errors import TcmaxError
from tcmax.seeding import derive


@dataclass(frozen=True)
class Quirk:
    """A choice in preparation.

    section: where the method specification describes it. values: what may be set, the reference first. release: what
    the released code does.
    """

    section: str
    what: str
    values: tuple[Any, ...]
    release: Any


QUIRKS: dict[str, Quirk] = {
    "frames.order": Quirk(
        section="§1.4",
        what="which of a clip's frames, one a second, are taken: the first, some spread over the clip (uniform), or the"
        " first in the order of a folder's listing, which differs between machines; a fixed shuffle stands for it",
        values=("first", "uniform", "listing"),
        release="listing",
    ),
    "flow.transposed": Quirk(
        section="§1.5",
        what="flow fields have their axes swapped, unlike the frames beside them",
        values=(False, True),
        release=True,
    ),
    "flow.copies": Quirk(
        section="§1.5",
        what="one flow field a second, the last repeated up to ten, instead of ten fields spread over the clip",
        values=(False, True),
        release=True,
    ),
    "sound.crop": Quirk(
        section="§1.3",
        what="the crop of sound is drawn once, or anew in each epoch (OGM-GE on VGGSound): ten seconds are then stored",
        values=("once", "each_epoch"),
        release="once",
    ),
    "sound.constant_for_failure": Quirk(
        section="§1.3",
        what="a filterbank that cannot be computed is a constant, instead of a clip that is skipped and listed",
        values=(False, True),
        release=True,
    ),
}
FIDELITIES = ("reference", "release")


def resolve_quirks(fidelity: str = "reference", chosen: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The value of every quirk: the fidelity's, unless `chosen` (name -> value as text) says otherwise.

    Raises TcmaxError for an unknown fidelity, quirk or value.
    """
    if fidelity not in FIDELITIES:
        raise TcmaxError(f"there is no fidelity {fidelity!r} of preparation; choose {' or '.join(FIDELITIES)}.")
    values = {name: quirk.values[0] if fidelity == "reference" else quirk.release for name, quirk in QUIRKS.items()}
    for name, text in (chosen or {}).items():
        if name not in QUIRKS:
            raise TcmaxError(f"there is no switch {name!r} of preparation; known: {', '.join(QUIRKS)}.")
        spelled = {str(value).lower(): value for value in QUIRKS[name].values}
        if text.lower() not in spelled:
            raise TcmaxError(f"{name} cannot be {text!r}; it is {' or '.join(spelled)}.")
        values[name] = spelled[text.lower()]
    return values


@dataclass(frozen=True)
class ClipMaker:
    """Makes the rows of a store of clips (a `tcmax.data.media.store.Maker`).

    clips: (n) names. sound, picture: per row the files found for it, best first; () when the set has no such modality,
    and an empty tuple in a row whose file is missing. expected: what to call the missing file.
    audio, frames, flow: as of a ClipSet. size: side of frames and flow in pixels. seed: of the sound crop.

    Raises TcmaxError when crops are to be drawn in each epoch from sound that is not cropped.
    """

    dataset: str
    source: Path
    clips: tuple[str, ...]
    sound: tuple[tuple[Path, ...], ...]
    picture: tuple[tuple[Path, ...], ...]
    audio: str
    frames: int
    flow: int
    size: int = 224
    seed: int = 0
    quirks: Mapping[str, Any] = field(default_factory=resolve_quirks)
    limits: decoding.Limits = field(default_factory=decoding.Limits)

    def __post_init__(self) -> None:
        if self.quirks["sound.crop"] == "each_epoch" and self.audio != "spectrogram":
            raise TcmaxError(f"sound.crop cannot be each_epoch: no sound of {self.dataset} is cropped.")

    def arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and type of a row of each array.

        audio is its feature, or samples where crops are drawn in each epoch; visual (F, size, size, 3), the colours of
        a pixel together, which is how they are read fastest; flow (2 n, size, size).
        """
        arrays: dict[str, tuple[tuple[int, ...], str]] = {}
        if self.audio == "spectrogram":
            whole = self.quirks["sound.crop"] == "each_epoch"
            arrays["audio"] = ((TILED_SECONDS * STFT_RATE_HZ,) if whole else STFT_SHAPE, "float32")
        elif self.audio:
            arrays["audio"] = (decoding.FBANK_SHAPE, "float32")
        if self.frames:
            arrays["visual"] = ((self.frames, self.size, self.size, 3), "uint8")
        if self.flow:
            arrays["flow"] = ((2 * self.flow, self.size, self.size), "float16")
        return arrays

    def sources(self, row: int) -> dict[str, Path]:
        """The sound and the picture file of a row, which may be one, by path below the source folder."""
        chosen = [*self._one(row, "sound"), *self._one(row, "picture")]
        return {_shown(path.relative_to(self.source)): path for path in chosen}

    def __call__(self, row: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        try:
            return self._made(row)
        except TcmaxError as error:  # without the place of the media, so that stores are equal wherever they lie
            raise TcmaxError(str(error).replace(f"{self.source}/", "")) from error

    def _made(self, row: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays: dict[str, np.ndarray] = {}
        facts: dict[str, Any] = {}
        for path in self._one(row, "sound"):
            arrays["audio"] = self._audio(path, row, facts)
        for path in self._one(row, "picture"):
            if self.frames:
                arrays["visual"] = self._visual(path, row, facts)
            if self.flow:
                arrays["flow"] = self._flow(path, facts)
        return arrays, facts

    def _one(self, row: int, modality: str) -> tuple[Path, ...]:
        """The file of a row: (path,), or () when the set has no such modality. Raises TcmaxError when none is there."""
        by_row = self.sound if modality == "sound" else self.picture
        if not by_row:
            return ()
        paths = by_row[row]
        if not paths:
            raise TcmaxError(f"{self.clips[row]} has no {modality} file.")
        twins = [path for path in paths if path.name == paths[0].name]
        if len(twins) > 1:
            places = " and ".join(_shown(path.parent.relative_to(self.source)) for path in twins[:2])
            raise TcmaxError(f"{self.clips[row]} has more than one file called {paths[0].name} (in {places}).")
        return (paths[0],)

    def _audio(self, path: Path, row: int, facts: dict[str, Any]) -> np.ndarray:
        if self.audio == "spectrogram":
            sound = decoding.decode_audio(path, STFT_RATE_HZ, TILED_SECONDS, self.limits)
            facts["sound_start"] = crop_start(self.dataset, self.clips[row], self.seed)
            facts["sound_damaged_packets"] = sound.damaged_packets
            if self.quirks["sound.crop"] == "each_epoch":
                return decoding.tiled(sound.samples)
            return decoding.log_spectrogram(decoding.tiled_crop(sound.samples, facts["sound_start"]))
        try:
            sound = decoding.decode_audio(path, decoding.FBANK_RATE_HZ, decoding.FBANK_SECONDS, self.limits)
            if len(sound.samples) < decoding.FBANK_RATE_HZ // 40:
                raise TcmaxError(f"{path} has less than 25 ms of sound.")
        except TcmaxError as error:
            if not self.quirks["sound.constant_for_failure"]:
                raise
            facts["sound_replaced"] = str(error).replace(f"{self.source}/", "")
            return decoding.filterbank_of_a_failure()
        facts["sound_damaged_packets"] = sound.damaged_packets
        return decoding.filterbank(sound.samples)

    def _visual(self, path: Path, row: int, facts: dict[str, Any]) -> np.ndarray:
        order = self.quirks["frames.order"]
        stop = self.frames if order == "first" else None
        picture = decoding.decode_frames(path, self.size, stop, self.limits)
        n_frames = len(picture.frames)
        chosen = np.arange(n_frames)
        if order == "uniform":
            chosen = np.round(np.linspace(0, n_frames - 1, min(self.frames, n_frames))).astype(int)
        elif order == "listing":
            name = self.clips[row]
            chosen = np.array(sorted(range(n_frames), key=lambda frame: derive("listing", self.dataset, name, frame)))
        chosen = _repeat_last(chosen[: self.frames], self.frames)
        facts |= {
            "frame_seconds": [round(float(second), 3) for second in picture.seconds[chosen]],
            "height": picture.height,
            "width": picture.width,
            "damaged_packets": picture.damaged_packets,
        }
        return picture.frames[chosen]

    def _flow(self, path: Path, facts: dict[str, Any]) -> np.ndarray:
        copies = self.quirks["flow.copies"]
        picture = decoding.decode_flow(path, self.size, self.flow, per_second=copies, limits=self.limits)
        facts["flow_seconds"] = [round(float(second), 3) for second in picture.seconds]
        fields = picture.frames[_repeat_last(np.arange(len(picture.frames)), self.flow)]
        by_axis = fields.transpose(3, 0, 2, 1) if self.quirks["flow.transposed"] else fields.transpose(3, 0, 1, 2)
        return np.ascontiguousarray(by_axis.reshape(2 * self.flow, self.size, self.size))  # all x, then all y


def _repeat_last(rows: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([rows, np.full(length - len(rows), rows[-1])])


def _shown(path: Path) -> str:
    """A path as text that can be written as UTF-8, whatever bytes a file system gave."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()
