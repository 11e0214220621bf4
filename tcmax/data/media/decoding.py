"""Decoding sound and video of any usual container, and the features that the papers compute from them.

Files come from anywhere, so they are read as hostile: only plain containers are opened (no playlists, which can name
other files or addresses), sizes are checked before memory is taken, and everything that is wrong with a clip is one
sentence in a TcmaxError. Arithmetic is done in double precision and rounded once.
"""

import contextlib
import math
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tcmax.data.media.sound_crop import N_STARTS, STFT_HOP, STFT_RATE_HZ, STFT_SECONDS, STFT_WINDOW, TILED_SECONDS
from tcmax.errors import TcmaxError
from tcmax.records.files import explained

try:
    import av
    import av.error
    from av.stream import Disposition
except ImportError as error:
    raise TcmaxError("sound and video need PyAV, which is not installed: pip install 'tcmax[media]'.") from error

if TYPE_CHECKING:
    from av.container import InputContainer

# Demuxers by FFmpeg's names. HLS, DASH, concat and image sequences are not among them: they open further files.
CONTAINERS = "avi,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,wav,mp3,ogg,flac"
_NO_DECLARED_LENGTH = ("mp3", "mpeg", "mpegvideo", "mpegts")  # their length is FFmpeg's estimate
_RIFF = ("avi", "wav")  # FFmpeg shortens their declared length to what is there, so their header is read here
_WHOLE = 0.9  # of its declared length: what lacks more is refused as truncated
_ROUNDING_SECONDS = 0.0005  # containers that count milliseconds round 1.0 s down

# Filterbank of Kinetics-Sounds.
FBANK_RATE_HZ = 16_000
FBANK_SHAPE = (1, 1024, 128)
FBANK_SECONDS = 11  # 1024 frames of 25 ms every 10 ms end at 10.255 s
FBANK_OF_A_FAILURE = 0.01, 512  # the released stand-in for a file it cannot read: the value, and its frames


@dataclass(frozen=True)
class Limits:
    """What a clip may cost; beyond is refused. The defaults are several times what any of the datasets holds."""

    file_bytes: int = 2 * 2**30
    side: int = 8_192  # pixels
    pixels: int = 4_096 * 2_304
    frames: int = 120_000  # decoded from one file
    audio_channels: int = 32
    audio_rate_hz: tuple[int, int] = (2_000, 384_000)
    damaged_share: float = 0.05  # of packets; FFmpeg's own player would go on, with holes


@dataclass(frozen=True)
class Sound:
    """samples: (n,) float32, mono. damaged_packets: how many were passed over."""

    samples: np.ndarray
    rate_hz: int
    damaged_packets: int


@dataclass(frozen=True)
class Picture:
    """Frames of a clip.

    frames: (F, size, size, 3) uint8, RGB, or for flow (F, size, size, 2) float16.
    seconds: (F,) float64, when each is shown, counted from the first frame of the clip.
    height, width: of the clip as it is, before it was resized.
    """

    frames: np.ndarray
    seconds: np.ndarray
    height: int
    width: int
    damaged_packets: int


def decode_audio(path: Path, rate_hz: int, stop_seconds: float | None = None, limits: Limits | None = None) -> Sound:
    """The first sound track of a file as mono float32 at `rate_hz`; only its first `stop_seconds` when given.

    Channels are averaged. Resampling is by windowed sinc with the constants that torchaudio gives for librosa's
    "kaiser_best". A ratio of rates that needs a denominator above 1,000 (44,101 to 22,050 Hz) is replaced by the
    nearest one that does not, at most 1/2,000 away, since the filter's memory grows with the denominator.

    Raises TcmaxError when the file is missing, empty, not a regular file, too large, of another format, damaged,
    shorter than it declares, or has no sound, NaN or infinite samples, or an absurd rate or number of channels.
    """
    limits = limits or Limits()
    path = Path(path)
    with _open(path, limits) as container:
        if not container.streams.audio:
            raise TcmaxError(f"{path} has no sound track.")
        stream = container.streams.audio[0]
        source_hz, n_channels = stream.codec_context.sample_rate, stream.codec_context.channels
        low, high = limits.audio_rate_hz
        if not low <= source_hz <= high:
            raise TcmaxError(f"{path} has a sampling rate of {source_hz} Hz, outside {low:,} to {high:,}.")
        if not 1 <= n_channels <= limits.audio_channels:
            raise TcmaxError(f"{path} has {n_channels} channels, more than {limits.audio_channels}.")
        wanted = math.inf if stop_seconds is None else stop_seconds * source_hz
        reading = _Reading(path, container, stream, limits)
        to_float = av.AudioResampler(format="fltp")
        blocks: list[np.ndarray] = []
        n_samples = 0
        for frame in reading.frames():
            if frame.sample_rate != source_hz or frame.layout.nb_channels != n_channels:
                raise TcmaxError(f"{path} changes its sampling rate or channels midway.")
            for converted in to_float.resample(frame):
                block = converted.to_ndarray().mean(axis=0, dtype=np.float64)
                blocks.append(block)
                n_samples += len(block)
            if n_samples >= wanted:
                break
    if n_samples == 0:
        raise TcmaxError(f"{path} has a sound track without samples.")
    reading.check_damage()
    samples = np.concatenate(blocks)
    if not np.isfinite(samples).all():
        raise TcmaxError(f"{path} holds NaN or infinite samples.")
    if stop_seconds is not None:
        samples = samples[: math.ceil(wanted)]
    return Sound(_resample(samples, source_hz, rate_hz).astype(np.float32), rate_hz, reading.damaged)


def _resample(samples: np.ndarray, source_hz: int, rate_hz: int) -> np.ndarray:
    """(n,) float64 at another rate: (ceil(n rate/source),) float64."""
    ratio = Fraction(source_hz, rate_hz).limit_denominator(1_000)
    if ratio == 1:
        return samples
    import torch
    from torchaudio.functional import resample

    changed: np.ndarray = resample(
        torch.from_numpy(samples),
        ratio.numerator,
        ratio.denominator,
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    ).numpy()
    return changed


def decode_frames(path: Path, size: int, stop_seconds: int | None = None, limits: Limits | None = None) -> Picture:
    """One frame a second: for second s the first frame shown in [s, s + 1), resized to `size` x `size`.

    In a second without a new frame (variable frame rate) it is the frame still on the screen. Time runs from the first
    frame. Resizing ignores the aspect ratio and is bilinear with antialiasing, as the papers' transform for held-out
    frames. `stop_seconds`: decode no further than this many frames need.

    Raises TcmaxError when the file is missing, empty, not a regular file, too large, of another format, damaged,
    shorter than it declares, or has no video, no frame, or frames beyond `limits`.
    """
    from PIL import Image

    images: list[np.ndarray] = []
    seconds: list[float] = []
    with _video(Path(path), limits or Limits()) as reading:

        def show(time: float, frame: av.VideoFrame) -> None:
            picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
            images.append(np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR)))
            seconds.append(time)

        before: tuple[float, av.VideoFrame] | None = None
        for time, frame in reading.timed_frames():
            while before is not None and _reached(time, len(images) + 1) and len(images) != stop_seconds:
                show(*before)
            if len(images) == stop_seconds:
                break
            if _reached(time, len(images)):
                show(time, frame)
            before = time, frame
    reading.check_damage()
    return Picture(np.stack(images), np.array(seconds), reading.height, reading.width, reading.damaged)


def decode_flow(
    path: Path, size: int, n_fields: int, per_second: bool = False, limits: Limits | None = None
) -> Picture:
    """Optical flow between consecutive frames by Farnebäck's method, at most `n_fields` fields of it.

    A field belongs to a frame and its predecessor, is computed on the clip's own grey frames (pyramid 0.5, 3 levels,
    window 15, 3 iterations, polynomials of 5 pixels and 1.2) and then resized, bilinearly, to `size` x `size`. The last
    axis is (x, y), positive to the right and downwards, in pixels of the clip per frame: resizing does not scale it.

    per_second: the field of the first frame of each second from second 1 on. Otherwise fields are spread evenly: of n
    frames, those of frames 1 + floor((k + 1/2) (n - 1) / n_fields) for k = 0..n_fields-1, and each once.

    Raises TcmaxError as `decode_frames`, when the clip has a single frame or, per second, ends within second 0, and
    when OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise TcmaxError("optical flow needs OpenCV, which is not installed: pip install 'tcmax[media]'.") from error

    cv2.setNumThreads(1)  # processes share the cores already
    path, limits = Path(path), limits or Limits()
    if per_second:
        wanted: set[int] | None = None
    else:
        with _video(path, limits) as reading:
            n_frames = sum(1 for _ in reading.timed_frames())
        wanted = {1 + (2 * k + 1) * (n_frames - 1) // (2 * n_fields) for k in range(n_fields)}

    def grey(frame: av.VideoFrame) -> np.ndarray:
        return cv2.cvtColor(frame.to_ndarray(format="rgb24"), cv2.COLOR_RGB2GRAY)

    fields: list[np.ndarray] = []
    seconds: list[float] = []
    with _video(path, limits) as reading:
        before: av.VideoFrame | None = None
        next_second = 1
        for number, (time, frame) in enumerate(reading.timed_frames()):
            chosen = _reached(time, next_second) if wanted is None else number in wanted
            if chosen and before is not None:
                if (before.width, before.height) != (frame.width, frame.height):
                    raise TcmaxError(f"{path} changes the size of its frames midway: there is no flow between them.")
                field = np.empty((frame.height, frame.width, 2), np.float32)
                cv2.calcOpticalFlowFarneback(grey(before), grey(frame), field, 0.5, 3, 15, 3, 5, 1.2, 0)
                fields.append(cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float16))
                seconds.append(time)
                next_second = math.floor(time + _ROUNDING_SECONDS) + 1
            if len(fields) == n_fields:
                break
            before = frame
    reading.check_damage()
    if not fields:
        reason = "ends within its first second" if number else "has a single frame"
        raise TcmaxError(f"{path} {reason}: there is no motion to measure.")
    return Picture(np.stack(fields), np.array(seconds), reading.height, reading.width, reading.damaged)


def tiled(samples: np.ndarray) -> np.ndarray:
    """TILED_SECONDS of sound, (220500,), clipped to [-1, 1].

    samples: (n,) at STFT_RATE_HZ; when it is shorter it is repeated 1 + floor(TILED_SECONDS / length) times.
    """
    longest = TILED_SECONDS * STFT_RATE_HZ
    if len(samples) < longest:
        samples = np.tile(samples, 1 + longest // len(samples))
    result: np.ndarray = np.clip(samples[:longest], -1.0, 1.0)
    return result


def tiled_crop(samples: np.ndarray, start: int) -> np.ndarray:
    """STFT_SECONDS of the sound `tiled` so, from sample `start` on: (110250,). start: 0 to N_STARTS - 1."""
    if not 0 <= start < N_STARTS:
        raise ValueError(f"a crop starts at sample 0 to {N_STARTS - 1}, not {start}")
    return tiled(samples)[start : start + STFT_SECONDS * STFT_RATE_HZ]


def log_spectrogram(samples: np.ndarray) -> np.ndarray:
    """log(|STFT| + 1e-7) of (110250,) samples at STFT_RATE_HZ: STFT_SHAPE float32.

    Hann window of STFT_WINDOW, hop STFT_HOP, frames centred, zeros beyond the ends (as librosa from 0.10 on); no
    normalisation.
    """
    import torch
    from torchaudio.transforms import Spectrogram

    magnitude = Spectrogram(
        n_fft=STFT_WINDOW, hop_length=STFT_HOP, power=1.0, center=True, pad_mode="constant"
    ).double()
    magnitude.window = torch.hann_window(STFT_WINDOW, dtype=torch.float64)
    values = torch.log(magnitude(torch.from_numpy(samples.astype(np.float64))) + 1e-7)
    return values[None].numpy().astype(np.float32)


def filterbank(samples: np.ndarray) -> np.ndarray:
    """Kaldi's log-mel filterbank of (n,) samples at FBANK_RATE_HZ: FBANK_SHAPE float32.

    The mean of the recording is taken off; 128 mel bins, Hann window of 25 ms every 10 ms, no dither, no energy. Fewer
    than 1,024 frames are followed by rows of zeros, more are cut; no normalisation.

    Raises ValueError when there is not a single whole window (400 samples).
    """
    import torch
    from torchaudio.compliance.kaldi import fbank

    if len(samples) < FBANK_RATE_HZ // 40:
        raise ValueError("a filterbank needs at least 25 ms of sound")
    wave = torch.from_numpy(samples.astype(np.float64))
    values = fbank(
        (wave - wave.mean())[None],
        sample_frequency=FBANK_RATE_HZ,
        num_mel_bins=FBANK_SHAPE[2],
        window_type="hanning",
        frame_length=25.0,
        frame_shift=10.0,
        dither=0.0,
        use_energy=False,
        htk_compat=True,
    ).numpy()
    return _padded(values)


def filterbank_of_a_failure() -> np.ndarray:
    """What the released code feeds in place of a recording that it cannot read: FBANK_SHAPE float32."""
    value, n_frames = FBANK_OF_A_FAILURE
    return _padded(np.full((n_frames, FBANK_SHAPE[2]), value))


def _padded(values: np.ndarray) -> np.ndarray:
    feature = np.zeros(FBANK_SHAPE, dtype=np.float32)
    values = values[: FBANK_SHAPE[1]]
    feature[0, : len(values)] = values
    return feature


@contextlib.contextmanager
def _open(path: Path, limits: Limits) -> "Iterator[InputContainer]":
    with explained("read", path):
        found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe would block for ever
        raise TcmaxError(f"{path} is not a regular file.")
    if found.st_size == 0:
        raise TcmaxError(f"{path} is empty (0 bytes).")
    if found.st_size > limits.file_bytes:
        raise TcmaxError(f"{path} has {found.st_size:,} bytes, more than {limits.file_bytes:,}.")
    with explained("read", path), path.open("rb") as stream:
        header = stream.read(8)
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    try:
        container = av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, UnicodeError) as error:
        raise TcmaxError(f"{path} is not sound or video in a known format ({_reason(error)}).") from error
    with container:
        if container.format.name in _RIFF and len(header) == 8:
            declared = 8 + int.from_bytes(header[4:], "little")
            streamed = declared >= 2**31 - 1  # written before the length was known
            if found.st_size < _WHOLE * declared and not streamed:
                raise TcmaxError(f"{path} is truncated: it has {found.st_size:,} of {declared:,} bytes.")
        yield container


@contextlib.contextmanager
def _video(path: Path, limits: Limits) -> "Iterator[_Reading]":
    with _open(path, limits) as container:
        # A cover picture counts as video for FFmpeg, but does not move.
        streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
        if not streams:
            raise TcmaxError(f"{path} has no video track.")
        reading = _Reading(path, container, streams[0], limits)
        reading.check_size(streams[0].codec_context.width, streams[0].codec_context.height)
        streams[0].codec_context.thread_count = 1
        yield reading


class _Reading:
    """The frames of one stream of an open file, with a count of what could not be decoded."""

    def __init__(self, path: Path, container: "InputContainer", stream: Any, limits: Limits) -> None:
        self.path, self.container, self.stream, self.limits = path, container, stream, limits
        self.packets = self.damaged = 0
        self.width = self.height = 0  # of the first frame

    def frames(self) -> Iterator[Any]:
        """Decoded frames in order of presentation; every stream is read, so that a cut file shows."""
        decoded, end = 0, 0.0
        try:
            for packet in self.container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream.index != self.stream.index:
                    continue
                self.packets += 1
                try:
                    frames = packet.decode()
                except (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.BugError):
                    self.damaged += 1
                    frames = []
                for frame in frames:
                    decoded += 1
                    if decoded > self.limits.frames:
                        raise TcmaxError(f"{self.path} has more than {self.limits.frames:,} frames.")
                    yield frame
        except av.error.FFmpegError as error:
            raise TcmaxError(f"{self.path} is damaged after {end:.2f} s ({_reason(error)}).") from error
        self._check_length(end)

    def check_damage(self) -> None:
        if self.damaged > self.limits.damaged_share * self.packets:
            raise TcmaxError(f"{self.path} is damaged: {self.damaged} of {self.packets} packets cannot be decoded.")

    def _check_length(self, end: float) -> None:
        declared = self.container.duration
        if declared is None or self.container.format.name in _NO_DECLARED_LENGTH:
            return
        start = max(self.container.start_time or 0, 0)
        if end < (start + _WHOLE * declared) / av.time_base - 0.1:
            seconds = (start + declared) / av.time_base
            raise TcmaxError(f"{self.path} is truncated: it ends after {end:.2f} of {seconds:.2f} s.")

    def check_size(self, width: int, height: int) -> None:
        if width < 1 or height < 1:
            raise TcmaxError(f"{self.path} has a video track without a size.")
        if max(width, height) > self.limits.side or width * height > self.limits.pixels:
            raise TcmaxError(
                f"{self.path} has frames of {width} x {height} pixels, more than {self.limits.side:,} on a side "
                f"or {self.limits.pixels:,} in all."
            )

    def timed_frames(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """(seconds since the first frame, frame), in order of time."""
        first, last, number = None, 0.0, 0
        rate = self.stream.average_rate or self.stream.guessed_rate
        for frame in self.frames():
            self.check_size(frame.width, frame.height)
            if not self.width:
                self.width, self.height = frame.width, frame.height
            if frame.time is not None:
                time = frame.time
            elif rate:  # raw streams carry no times
                time = number / float(rate) + (first or 0.0)
            else:
                raise TcmaxError(f"{self.path} says neither when its frames are shown nor how many a second.")
            first = time if first is None else first
            last = max(last, time - first)
            number += 1
            yield last, frame
        if number == 0:
            self.check_damage()
            raise TcmaxError(f"{self.path} has a video track without frames.")


def _reached(time: float, second: int) -> bool:
    return time + _ROUNDING_SECONDS >= second


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:].rstrip(".")
