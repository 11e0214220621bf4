"""Sound and video files for tests, written with PyAV."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

# File name -> codecs; None where a container has no such track here.
CODECS = {
    ".avi": ("mpeg4", "pcm_s16le"),
    ".flv": ("flv", "libmp3lame"),
    ".mp4": ("libx264", "aac"),
    ".mpg": ("mpeg1video", "mp2"),
    ".webm": ("libvpx", "libopus"),
    ".mkv": ("ffv1", "pcm_f32le"),
    ".wav": (None, "pcm_s16le"),
    ".mp3": (None, "libmp3lame"),
}


def write_media(
    path: Path,
    frames: Iterable[np.ndarray] = (),
    fps: Fraction | int = 25,
    sound: np.ndarray | None = None,
    rate_hz: int = 44_100,
    times: Iterable[int] | None = None,
    container: str | None = None,
) -> Path:
    """Write frames (each (H, W, 3) uint8) and sound ((n,) or (channels, n) in [-1, 1]) to `path`.

    times: when each frame is shown, in units of 1/fps; default one after the other. container: FFmpeg's name of a
    format other than the one that the file name says.
    """
    video_codec, audio_codec = CODECS[path.suffix]
    frames = list(frames)
    with av.open(str(path), "w", format=container) as output:
        tracks = []
        if frames:
            video: Any = output.add_stream(str(video_codec), rate=fps)
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt = "bgr0" if video_codec == "ffv1" else "yuv420p"
            video.bit_rate = 4_000_000
            video.codec_context.time_base = 1 / Fraction(fps)
            tracks.append(video)
        if sound is not None:
            sound = np.atleast_2d(np.asarray(sound, dtype=np.float32))
            layout = {1: "mono", 2: "stereo"}.get(len(sound), f"{len(sound)}c")
            audio: Any = output.add_stream(audio_codec, rate=rate_hz, layout=layout)
            tracks.append(audio)
        for number, time in zip(range(len(frames)), times or range(len(frames)), strict=False):
            frame = av.VideoFrame.from_ndarray(frames[number], format="rgb24")
            frame.pts, frame.time_base = time, 1 / Fraction(fps)
            output.mux(video.encode(frame))
        if frames:
            output.mux(video.encode(None))
        if sound is not None:
            step = audio.codec_context.frame_size or 1_024
            to_format = av.AudioResampler(format=audio.codec_context.format, layout=layout, rate=rate_hz)
            for start in range(0, sound.shape[1], step):
                piece = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(sound[:, start : start + step]), format="fltp", layout=layout
                )
                piece.rate, piece.pts, piece.time_base = rate_hz, start, Fraction(1, rate_hz)
                for converted in to_format.resample(piece):
                    output.mux(audio.encode(converted))
            output.mux(audio.encode(None))
    return path


def grey_clock(seconds: float, fps: Fraction | int = 25, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames whose grey level says when they are shown: 20 at the start, 60 more each second."""
    n_frames = round(seconds * float(fps))
    return [np.full((height, width, 3), clock_level(k / float(fps)), np.uint8) for k in range(n_frames)]


def clock_level(seconds: float) -> int:
    return round(20 + 60 * seconds)


def tone(seconds: float, hertz: float = 440.0, rate_hz: int = 44_100) -> np.ndarray:
    """(n,) float64 in [-0.5, 0.5]."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate_hz)) / rate_hz)
