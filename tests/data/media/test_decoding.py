"""Decoding against other decoders and against what was encoded; features against their formulas written out."""

import csv
import math
from fractions import Fraction

import numpy as np
import pytest
import soundfile
from media_files import clock_level, grey_clock, tone, write_media
from PIL import Image
from scipy import signal

from tcmax.data.media import decoding


@pytest.fixture(scope="module")
def real_clips(real_data):
    folder = real_data / "video_clips"
    with (folder / "clips.csv").open(newline="") as stream:
        return [(folder / row["file"], row) for row in csv.DictReader(stream)]


# Sound.


def test_real_clips_decode_to_the_samples_counted_for_them(real_clips):
    counted = 0
    for path, row in real_clips:
        if int(row["decoded_audio_samples"]) and path.stem in ("bbaf2n", "swwp2s"):
            sound = decoding.decode_audio(path, int(row["sample_rate"]))
            assert len(sound.samples) == int(row["decoded_audio_samples"]), path
            assert sound.samples.dtype == np.float32
            assert sound.damaged_packets == 0
            counted += 1
    assert counted == 8


def test_reencodings_of_a_real_clip_sound_like_it(real_clips):
    paths = {path.name: path for path, _ in real_clips}
    original = decoding.decode_audio(paths["bbaf2n.mpg"], 16_000).samples
    for name in ("bbaf2n.avi", "bbaf2n.mp4", "bbaf2n.flv"):
        copy = decoding.decode_audio(paths[name], 16_000).samples
        n = min(len(copy), len(original))
        # Codecs may shift by their padding: the best alignment within 0.1 s correlates.
        correlation = signal.correlate(copy[:n], original[:n], method="fft")[n - 1 - 1_600 : n + 1_600]
        assert correlation.max() / np.linalg.norm(copy[:n]) / np.linalg.norm(original[:n]) > 0.95, name


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("kind", ["PCM_16", "FLOAT"])
def test_a_wav_file_decodes_to_what_soundfile_reads(tmp_path, channels, kind):
    random = np.random.default_rng(channels)
    soundfile.write(tmp_path / "a.wav", random.uniform(-1, 1, (5_000, channels)), 22_050, subtype=kind)
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float64", always_2d=True)
    decoded = decoding.decode_audio(tmp_path / "a.wav", 22_050)
    np.testing.assert_allclose(decoded.samples, expected.mean(axis=1), atol=1e-7)


def test_an_mp3_file_decodes_to_what_soundfile_reads(tmp_path):
    path = write_media(tmp_path / "a.mp3", sound=tone(1.0))
    expected, rate_hz = soundfile.read(path, dtype="float64")
    decoded = decoding.decode_audio(path, rate_hz).samples
    assert abs(len(decoded) - len(expected)) <= 3 * 1_152  # what a decoder makes of the codec's padding
    delay = np.argmax(signal.correlate(decoded[:8_000], expected[2_000:4_000], mode="valid")) - 2_000
    n = min(len(decoded) - abs(delay), len(expected) - abs(delay)) - 2_400
    ours, theirs = decoded[1_200 + max(delay, 0) :][:n], expected[1_200 + max(-delay, 0) :][:n]
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize(
    ("source_hz", "rate_hz"), [(44_100, 22_050), (48_000, 22_050), (16_000, 22_050), (8_000, 16_000)]
)
def test_resampling_keeps_a_tone_and_agrees_with_scipy(tmp_path, source_hz, rate_hz):
    soundfile.write(tmp_path / "a.wav", tone(1.0, 997.0, source_hz), source_hz, subtype="FLOAT")
    decoded = decoding.decode_audio(tmp_path / "a.wav", rate_hz).samples
    assert len(decoded) == rate_hz
    inside = slice(rate_hz // 10, -rate_hz // 10)
    np.testing.assert_allclose(decoded[inside], tone(1.0, 997.0, rate_hz)[inside], atol=2e-5)
    ratio = Fraction(rate_hz, source_hz)
    other = signal.resample_poly(tone(1.0, 997.0, source_hz), ratio.numerator, ratio.denominator)
    np.testing.assert_allclose(decoded[inside], other[inside], atol=2e-3)


def test_resampling_removes_what_the_lower_rate_cannot_hold(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.5, 15_000.0), 44_100, subtype="FLOAT")
    assert np.abs(decoding.decode_audio(tmp_path / "a.wav", 22_050).samples[2_000:-2_000]).max() < 1e-4


def test_an_awkward_ratio_of_rates_is_rounded_and_not_a_filter_of_gigabytes(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(0.5, 440.0, 44_101), 44_101, subtype="FLOAT")
    decoded = decoding.decode_audio(tmp_path / "a.wav", 22_050).samples
    np.testing.assert_allclose(decoded[2_000:-2_000], tone(0.5, 440.0, 22_050)[2_000 : len(decoded) - 2_000], atol=0.02)


def test_only_the_first_seconds_are_decoded_when_no_more_are_wanted(tmp_path):
    path = write_media(tmp_path / "a.wav", sound=tone(3.0))
    whole = decoding.decode_audio(path, 44_100).samples
    start = decoding.decode_audio(path, 44_100, stop_seconds=1.0).samples
    assert len(start) == 44_100
    np.testing.assert_array_equal(start, whole[:44_100])


def test_a_short_recording_is_repeated_before_it_is_cropped():
    samples = np.linspace(-0.9, 0.9, 60_000)
    for start in (0, 70_001, 110_250):
        crop = decoding.tiled_crop(samples, start)
        np.testing.assert_array_equal(crop, samples[(start + np.arange(110_250)) % 60_000])
    long = np.linspace(-3, 3, 300_000)
    np.testing.assert_array_equal(decoding.tiled_crop(long, 5), np.clip(long[5 : 5 + 110_250], -1, 1))
    with pytest.raises(ValueError, match="a crop starts at sample 0 to 110250, not 110251"):
        decoding.tiled_crop(long, 110_251)


def test_the_spectrogram_is_its_formula_written_out():
    samples = np.random.default_rng(0).uniform(-1, 1, 110_250)
    ours = decoding.log_spectrogram(samples)
    assert ours.shape == (1, 129, 862)
    assert ours.dtype == np.float32
    padded = np.concatenate([np.zeros(128), samples, np.zeros(128)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    for frame in (0, 1, 400, 860, 861):
        spectrum = np.fft.rfft(window * padded[128 * frame : 128 * frame + 256])
        np.testing.assert_allclose(ours[0, :, frame], np.log(np.abs(spectrum) + 1e-7), rtol=1e-6, atol=1e-6)
    assert (decoding.log_spectrogram(np.zeros(110_250)) == np.float32(math.log(1e-7))).all()


def kaldi_filterbank(samples):
    """Log-mel energies of Kaldi with its defaults, from its documentation: (frames, 128)."""
    samples = samples - samples.mean()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)
    mel = lambda hertz: 1127 * np.log(1 + hertz / 700)  # noqa: E731
    edges = np.linspace(mel(20), mel(8_000), 130)
    bins = mel(np.arange(257) * 16_000 / 512)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(np.minimum(rising, falling), 0)
    rows = []
    for start in range(0, len(samples) - 399, 160):
        frame = samples[start : start + 400] - samples[start : start + 400].mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(hann * frame, 512)) ** 2
        rows.append(np.log(np.maximum(weights[:, :256] @ power[:256], np.finfo(np.float32).eps)))
    return np.array(rows)


def test_the_filterbank_is_kaldis_written_out():
    samples = np.random.default_rng(1).uniform(-1, 1, 160_000) * np.linspace(0, 1, 160_000) + 0.1
    ours = decoding.filterbank(samples)
    assert ours.shape == (1, 1024, 128)
    assert ours.dtype == np.float32
    expected = kaldi_filterbank(samples)
    assert len(expected) == 998
    np.testing.assert_allclose(ours[0, :998], expected, atol=2e-4)
    assert (ours[0, 998:] == 0).all()


def test_a_filterbank_of_a_long_recording_is_cut_and_one_of_a_click_is_refused():
    samples = np.random.default_rng(2).uniform(-1, 1, 11 * 16_000)
    assert (decoding.filterbank(samples)[0, -1] != 0).any()
    with pytest.raises(ValueError, match="at least 25 ms"):
        decoding.filterbank(samples[:399])


def test_the_released_stand_in_for_a_broken_recording_is_a_constant_half():
    feature = decoding.filterbank_of_a_failure()
    assert feature.shape == (1, 1024, 128)
    assert (feature[0, :512] == np.float32(0.01)).all()
    assert (feature[0, 512:] == 0).all()


# Pictures.


def levels(picture):
    return picture.frames.reshape(len(picture.frames), -1).mean(axis=1)


@pytest.mark.parametrize("suffix", [".avi", ".flv", ".mp4", ".mpg", ".webm", ".mkv"])
def test_frames_are_those_of_their_seconds_in_every_container(tmp_path, suffix):
    path = write_media(tmp_path / f"a{suffix}", grey_clock(3.4), sound=tone(3.4, rate_hz=48_000), rate_hz=48_000)
    picture = decoding.decode_frames(path, 32)
    assert picture.frames.shape == (4, 32, 32, 3)
    assert picture.frames.dtype == np.uint8
    assert (picture.height, picture.width) == (48, 64)
    np.testing.assert_allclose(picture.seconds, [0, 1, 2, 3], atol=0.002)
    # A frame later is 2.4 levels brighter; half of that is left for the codec.
    np.testing.assert_allclose(
        levels(picture), [clock_level(second) for second in range(4)], atol=1.2 + (suffix == ".webm")
    )


def test_frames_of_a_broadcast_rate_are_the_first_at_or_after_each_second(tmp_path):
    fps = Fraction(30_000, 1_001)
    path = write_media(tmp_path / "a.mkv", grey_clock(2.5, fps), fps)
    picture = decoding.decode_frames(path, 16)
    np.testing.assert_allclose(picture.seconds, [0, 30 * 1_001 / 30_000, 60 * 1_001 / 30_000], atol=0.001)


def test_a_second_without_a_new_frame_shows_the_one_still_on_the_screen(tmp_path):
    times = [0, 10, 20, 30, 85, 90]  # in 1/25 s: nothing new in [1.2, 3.4)
    frames = [np.full((48, 64, 3), 30 * k + 20, np.uint8) for k in range(6)]
    path = write_media(tmp_path / "a.mkv", frames, 25, times=times)
    picture = decoding.decode_frames(path, 16)
    np.testing.assert_allclose(picture.seconds, [0.0, 1.2, 1.2, 3.4], atol=0.001)
    np.testing.assert_allclose(levels(picture), [20, 110, 110, 140], atol=1)


def test_decoding_stops_after_the_seconds_wanted(tmp_path):
    path = write_media(tmp_path / "a.mkv", grey_clock(3.4))
    whole, start = decoding.decode_frames(path, 16), decoding.decode_frames(path, 16, stop_seconds=2)
    np.testing.assert_array_equal(start.frames, whole.frames[:2])


def test_resizing_squeezes_the_whole_frame_and_smooths(tmp_path):
    ramp = np.broadcast_to(np.linspace(0, 255, 128)[:, None, None], (128, 192, 3)).astype(np.uint8)
    checks = np.indices((128, 192)).sum(axis=0) % 2 * 255
    checked = np.repeat(checks[:, :, None], 3, axis=2).astype(np.uint8)
    path = write_media(tmp_path / "a.mkv", [ramp, checked], 1)
    picture = decoding.decode_frames(path, 32)
    rows = picture.frames[0].astype(int)
    np.testing.assert_array_equal(rows, np.asarray(Image.fromarray(ramp).resize((32, 32), Image.Resampling.BILINEAR)))
    assert np.abs(rows[:, 0, 0] - np.linspace(3, 252, 32)).max() < 4
    assert np.abs(picture.frames[1].astype(int) - 127).max() <= 8  # without smoothing it would be 0 and 255


def test_a_real_clip_in_four_containers_shows_the_same_pictures(real_clips):
    pictures = {path.name: decoding.decode_frames(path, 96) for path, _ in real_clips if path.stem == "bbaf2n"}
    assert len(pictures) == 4
    for name, picture in pictures.items():
        assert picture.frames.shape == (3, 96, 96, 3)
        assert (picture.height, picture.width) == (288, 360)
        difference = np.abs(picture.frames.astype(int) - pictures["bbaf2n.mpg"].frames.astype(int))
        assert difference.mean() < 3, name
        # A neighbouring second differs more than a codec does.
    moved = np.abs(pictures["bbaf2n.mpg"].frames[1].astype(int) - pictures["bbaf2n.mpg"].frames[2].astype(int))
    assert moved.mean() > 0.5


# Flow.


def moving_texture(n_frames, dx, dy, height=64, width=96):
    random = np.random.default_rng(3)
    texture = np.asarray(
        Image.fromarray(random.integers(0, 256, (height // 4, width // 4), dtype=np.uint8)).resize((width, height))
    )
    return [np.repeat(np.roll(texture, (k * dy, k * dx), (0, 1))[:, :, None], 3, axis=2) for k in range(n_frames)]


@pytest.mark.parametrize(("dx", "dy"), [(2, 0), (0, -1), (-2, 1)])
def test_flow_points_where_a_pattern_moves_on_a_frame_that_is_not_square(tmp_path, dx, dy):
    path = write_media(tmp_path / "a.mkv", moving_texture(12, dx, dy))
    picture = decoding.decode_flow(path, 32, n_fields=3)
    assert picture.frames.shape == (3, 32, 32, 2)
    assert picture.frames.dtype == np.float16
    centre = picture.frames[:, 8:24, 8:24].astype(float)
    np.testing.assert_allclose(np.median(centre, axis=(0, 1, 2)), [dx, dy], atol=0.25)


def test_flow_is_laid_out_by_row_and_column_as_the_frame_is(tmp_path):
    still, moved = moving_texture(2, 2, 0)
    half = still.copy()
    half[:, 48:] = moved[:, 48:]  # only the right half moves
    picture = decoding.decode_flow(write_media(tmp_path / "a.mkv", [still, half]), 32, n_fields=1)
    across = np.abs(picture.frames[0, 4:28, :, 0].astype(float)).mean(axis=0)
    assert across[20:30].mean() > 1.0 > 0.3 > across[2:12].mean()


def test_flow_fields_are_spread_over_the_clip_or_one_a_second(tmp_path):
    path = write_media(tmp_path / "a.mkv", moving_texture(76, 1, 0, 48, 64))
    even = decoding.decode_flow(path, 16, n_fields=5)
    np.testing.assert_allclose(even.seconds * 25, [8, 23, 38, 53, 68], atol=0.1)
    each = decoding.decode_flow(path, 16, n_fields=10, per_second=True)
    np.testing.assert_allclose(each.seconds, [1, 2, 3], atol=0.001)
    short = decoding.decode_flow(write_media(tmp_path / "b.mkv", moving_texture(4, 1, 0)), 16, n_fields=10)
    np.testing.assert_allclose(short.seconds * 25, [1, 2, 3], atol=0.1)
