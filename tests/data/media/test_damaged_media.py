"""Damaged and hostile clips: each is refused in one sentence that names the file and the fault, and nothing hangs."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile
from media_files import grey_clock, tone, write_media
from PIL import Image

from tcmax.data.media import decoding
from tcmax.data.media.decoding import Limits
from tcmax.errors import TcmaxError


def frames_of(path, limits=None):
    return decoding.decode_frames(path, 32, limits=limits)


def sound_of(path, limits=None):
    return decoding.decode_audio(path, 22_050, limits=limits)


def flow_of(path, limits=None):
    return decoding.decode_flow(path, 32, 10, limits=limits)


def every_flow_of(path, limits=None):
    return decoding.decode_flow(path, 32, 100, limits=limits)


def written(path, content):
    path.write_bytes(content)
    return path


def cut(path, share):
    content = path.read_bytes()
    return written(path, content[: int(share * len(content))])


def video(folder, name="a.mp4", seconds=2.0, **more):
    return write_media(folder / name, grey_clock(seconds), sound=tone(seconds), **more)


def damaged(path, share):
    """Every byte of a share of the file, from its first quarter on, is random; the start is whole."""
    content = bytearray(path.read_bytes())
    start, n = len(content) // 4, int(share * len(content))
    content[start : start + n] = np.random.default_rng(0).bytes(n)
    return written(path, bytes(content))


def without_packets(path):
    """An AVI file whose index and frames are gone, with a header that promises them."""
    content = path.read_bytes()
    return written(path, content[: content.index(b"movi") + 4])


def pipe(path):
    os.mkfifo(path)
    return path


def folder(path):
    path.mkdir()
    return path


def playlist(path):
    secret = write_media(path.parent / "secret.mp4", grey_clock(1.0))
    lines = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{secret}\n#EXT-X-ENDLIST\n"
    return written(path, lines.encode())


def concatenation(path):
    secret = write_media(path.parent / "secret.mp4", grey_clock(1.0))
    return written(path, f"ffconcat version 1.0\nfile {secret}\n".encode())


def float_wav(path, value):
    samples = tone(0.5).astype(np.float32)
    samples[7_000] = value
    soundfile.write(path, samples, 44_100, subtype="FLOAT")
    return path


def wav_of_rate(path, rate_hz):
    soundfile.write(path, tone(0.5), rate_hz)
    return path


def wav_of_channels(path, channels):
    soundfile.write(path, np.zeros((100, channels)), 44_100)
    return path


def empty_wav(path):
    soundfile.write(path, np.zeros(0), 44_100)
    return path


def cover_alone(path):
    """A song with a picture of its cover, which FFmpeg shows as a video track."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 48)).save(picture, "PNG")
    body = b"\0image/png\0\3\0" + picture.getvalue()
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    song = write_media(path, sound=tone(1.0)).read_bytes()
    return written(path, b"ID3\3\0\0" + size + frame + song)


def two_sizes(path):
    small = write_media(path.with_name("small.mpg"), grey_clock(1.0))
    large = write_media(path.with_name("large.mpg"), grey_clock(1.0, height=96, width=128))
    return written(path, small.read_bytes() + large.read_bytes())


def noise(path):
    return written(path, np.random.default_rng(0).bytes(100_000))


CASES = {
    # kind: (how the file comes about, what reads it, what is said)
    "missing": (lambda f: f / "a.mp4", frames_of, "no such file"),
    "no bytes": (lambda f: written(f / "a.mp4", b""), frames_of, r"is empty \(0 bytes\)"),
    "only zeros": (lambda f: written(f / "a.mp4", bytes(100_000)), frames_of, "not sound or video in a known format"),
    "only noise": (lambda f: noise(f / "a.mp4"), frames_of, "not sound or video in a known format"),
    "a web page": (lambda f: written(f / "a.mp4", b"<html>404</html>" * 99), frames_of, "not sound or video"),
    "a folder": (lambda f: folder(f / "a.mp4"), frames_of, "not a regular file"),
    "a pipe": (lambda f: pipe(f / "a.mp4"), frames_of, "not a regular file"),
    "a loop of links": (lambda f: (f / "a.mp4").symlink_to(f / "a.mp4") or f / "a.mp4", frames_of, "symbolic links"),
    "a playlist": (lambda f: playlist(f / "a.mp4"), frames_of, "not sound or video in a known format"),
    "a list of files": (lambda f: concatenation(f / "a.mp4"), frames_of, "not sound or video in a known format"),
    "no video track": (lambda f: write_media(f / "a.mp4", sound=tone(1)), frames_of, "has no video track"),
    "no sound track": (lambda f: write_media(f / "a.mp4", grey_clock(1)), sound_of, "has no sound track"),
    "mp4 cut": (lambda f: cut(video(f), 0.5), frames_of, "not sound or video in a known format"),
    "avi cut": (lambda f: cut(video(f, "a.avi"), 0.5), sound_of, "is truncated: it has .* of .* bytes"),
    "flv cut": (lambda f: cut(video(f, "a.flv"), 0.5), frames_of, "is truncated: it ends after .* of 2.0. s"),
    "wav cut": (
        lambda f: cut(write_media(f / "a.wav", sound=tone(2)), 0.5),
        sound_of,
        "is truncated: it has .* of .* bytes",
    ),
    "mp3 of noise": (lambda f: damaged(write_media(f / "a.mp3", sound=tone(2)), 0.7), sound_of, "is damaged"),
    "mp4 of noise": (lambda f: damaged(video(f, seconds=3.5), 0.5), sound_of, "is damaged"),
    "frames of noise": (
        lambda f: damaged(write_media(f / "a.mkv", grey_clock(2)), 0.7),
        frames_of,
        "is (damaged|trun)",
    ),
    "a header alone": (lambda f: without_packets(video(f, "a.avi")), frames_of, "truncated|without frames"),
    "no samples": (lambda f: empty_wav(f / "a.wav"), sound_of, "without samples|not sound or video"),
    "NaN samples": (lambda f: float_wav(f / "a.wav", np.nan), sound_of, "holds NaN or infinite samples"),
    "infinite samples": (lambda f: float_wav(f / "a.wav", np.inf), sound_of, "holds NaN or infinite samples"),
    "an absurd rate": (lambda f: wav_of_rate(f / "a.wav", 1_000_003), sound_of, "sampling rate of 1000003 Hz"),
    "a slow rate": (lambda f: wav_of_rate(f / "a.wav", 10), sound_of, "sampling rate of 10 Hz, outside"),
    "many channels": (lambda f: wav_of_channels(f / "a.wav", 64), sound_of, "has 64 channels, more than 32"),
    "a cover": (lambda f: cover_alone(f / "a.mp3"), frames_of, "has no video track"),
    "two sizes": (lambda f: two_sizes(f / "a.mpg"), every_flow_of, "changes the size of its frames midway"),
    "one frame": (lambda f: write_media(f / "a.avi", grey_clock(0.04)), flow_of, "a single frame: there is no motion"),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_clip_that_is_not_right_is_refused_in_one_sentence(tmp_path, kind):
    make, read, message = CASES[kind]
    path = make(tmp_path)
    with pytest.raises(TcmaxError, match=message) as refused:
        read(path)
    said = str(refused.value)
    assert str(path) in said
    assert said.endswith(".")
    assert "\n" not in said


LIMITED = {
    "bytes": (Limits(file_bytes=1_000), frames_of, "bytes, more than 1,000"),
    "side": (Limits(side=50), frames_of, "frames of 64 x 48 pixels, more than 50 on a side"),
    "pixels": (Limits(pixels=3_000), flow_of, "frames of 64 x 48 pixels, .* or 3,000 in all"),
    "frames": (Limits(frames=20), frames_of, "more than 20 frames"),
}


@pytest.mark.parametrize("kind", LIMITED)
def test_a_clip_beyond_a_limit_is_refused_in_one_sentence(tmp_path, kind):
    limits, read, message = LIMITED[kind]
    with pytest.raises(TcmaxError, match=message):
        read(video(tmp_path), limits)


def test_frames_that_would_fill_the_memory_are_refused_before_one_is_decoded(tmp_path):
    # A few hundred bytes that declare 30,000 x 30,000 pixels.
    path = write_media(tmp_path / "a.mkv", grey_clock(0.2))
    content = path.read_bytes()
    width = bytes([0xB0, 0x81, 64])  # Matroska's elements PixelWidth and PixelHeight, one byte each
    height = bytes([0xBA, 0x81, 48])
    assert content.count(width) == content.count(height) == 1
    wide = content.replace(width, bytes([0xB0, 0x81, 255])).replace(height, bytes([0xBA, 0x81, 255]))
    path.write_bytes(wide)
    with pytest.raises(TcmaxError, match="255 x 255 pixels"):
        frames_of(path, Limits(side=200))


def test_a_wrong_extension_harms_nothing(tmp_path):
    path = video(tmp_path, "a.avi", 2.0).rename(tmp_path / "a.mp4")
    assert len(frames_of(path).frames) == 2
    assert len(sound_of(path).samples) > 40_000


def test_a_length_of_four_gigabytes_reserves_no_memory_and_what_is_there_is_read(tmp_path):
    # So writes a program that sends sound down a pipe.
    path = write_media(tmp_path / "a.wav", sound=tone(0.5))
    content = bytearray(path.read_bytes())
    for place in (4, content.index(b"data") + 4):
        content[place : place + 4] = struct.pack("<I", 2**32 - 1)
    assert len(sound_of(written(path, bytes(content))).samples) == 11_025


def test_a_file_with_one_bad_packet_is_read_and_the_packet_counted(tmp_path):
    path = write_media(tmp_path / "a.mp3", sound=tone(4.0))
    content = bytearray(path.read_bytes())
    content[9_000:9_100] = bytes(100)
    sound = sound_of(written(path, bytes(content)))
    assert len(sound.samples) > 3.8 * 22_050
    assert sound.damaged_packets <= 5
