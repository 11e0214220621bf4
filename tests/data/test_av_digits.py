"""AV-digits as loaded from real files, against independent readings of the same files."""

import csv
import gzip
import hashlib
import shutil
import struct
from collections import Counter

import numpy as np
import pytest

from tcmax.data import av_digits
from tcmax.data.av_digits import FRAMES, HOP, MELS, RANGE_DB, WINDOW, load, log_mel
from tcmax.data.spectrogram import STEPS
from tcmax.errors import TcmaxError

pytest.importorskip("torchaudio", reason="the train extra is not installed")


@pytest.fixture(scope="module")
def dataset(real_data):
    return load(real_data)


@pytest.fixture(scope="module")
def pairs(real_data):
    with (real_data / "av_digits" / "pairs.csv").open() as stream:
        return list(csv.DictReader(stream))


def raw_images(path):
    content = gzip.decompress(path.read_bytes())
    _, n, height, width = struct.unpack(">4i", content[:16])
    return np.frombuffer(content[16:], np.uint8).reshape(n, height, width)


def speech(n_samples=4_000, seed=0):
    """A pulse train with decaying loudness and a little noise: int16, as a recording is."""
    t = np.arange(n_samples)
    wave = np.sin(2 * np.pi * 130 * t / 8_000) ** 15 * np.exp(-t / 2_000)
    return (3_000 * wave + 5 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.int16)


def test_shapes_ranges_and_balance(dataset):
    assert dataset.inputs["audio"].shape == (6_000, 1, 40, 64)
    assert dataset.inputs["image"].shape == (6_000, 1, 28, 28)
    for array in dataset.inputs.values():
        assert array.dtype == np.float32
        assert array.min() == 0
        assert array.max() == 1
    for fold in dataset.folds:
        for part, n_items in (("train", 2_000), ("val", 500), ("test", 500)):
            assert Counter(dataset.labels[fold.part(part)].tolist()) == dict.fromkeys(range(10), n_items // 10)


def test_the_test_parts_hold_every_recording_once_in_its_test_role(dataset, pairs):
    tested = np.concatenate([dataset.items[fold.test] for fold in dataset.folds])
    assert sorted(tested) == sorted(pair["recording"].removesuffix(".wav") for pair in pairs)
    for fold in dataset.folds:
        assert all(item.endswith("@train") for part in ("train", "val") for item in dataset.items[fold.part(part)])


def test_parts_are_disjoint_in_speaker_and_test_in_writer_too(dataset, real_data):
    speaker, writer = dataset.groups["speaker"], dataset.groups["writer"]
    with (real_data / "av_digits" / "folds.csv").open() as stream:
        protocol = list(csv.DictReader(stream))
    assert len(dataset.folds) == len(protocol) == 6
    for fold, row in zip(dataset.folds, protocol, strict=True):
        assert set(speaker[fold.test]) == {row["test_speaker"]}
        assert set(speaker[fold.val]) == {row["val_speaker"]}
        assert set(speaker[fold.train]) == set(row["train_speakers"].split())
        assert not set(writer[fold.test]) & (set(writer[fold.train]) | set(writer[fold.val]))


def test_each_role_shows_its_own_image_with_its_own_writer(dataset, pairs, real_data):
    train = raw_images(real_data / "mnist" / "train-images-idx3-ubyte.gz")
    test = raw_images(real_data / "mnist" / "t10k-images-idx3-ubyte.gz")
    stored = np.load(real_data / "mnist" / "writers.npz")
    row_of = {item: row for row, item in enumerate(dataset.items)}
    for pair in pairs[::37]:
        stem = pair["recording"].removesuffix(".wav")
        for item, images, index, role in (
            (f"{stem}@train", train, int(pair["train_image"]), "train"),
            (stem, test, int(pair["test_image"]), "test"),
        ):
            row = row_of[item]
            np.testing.assert_array_equal(np.rint(dataset.inputs["image"][row, 0] * 255), images[index])
            assert dataset.groups["writer"][row] == str(stored[f"{role}_writer"][index])
            assert dataset.labels[row] == int(stem[0]) == stored[f"{role}_digit"][index]
        np.testing.assert_array_equal(
            dataset.inputs["audio"][row_of[stem]], dataset.inputs["audio"][row_of[f"{stem}@train"]]
        )


def test_the_checksum_of_the_recordings_is_that_of_the_published_manifest(real_data):
    with (real_data / "fsdd" / "manifest.csv").open() as stream:
        rows = [(row["file"], row["pcm_sha256"]) for row in csv.DictReader(stream)]
    assert [file for file, _ in rows] == list(av_digits.RECORDINGS)
    lines = "".join(f"{file} {digest}\n" for file, digest in rows)
    assert hashlib.sha256(lines.encode()).hexdigest() == av_digits.CONTENT["fsdd/recordings.tar"]


def test_the_images_have_the_checksums_known_of_the_originals(real_data):
    for part, md5 in (("train", "6bbc9ace898e44ae57da46a324031adb"), ("t10k", "2646ac647ad5339dbf082846283269ea")):
        content = gzip.decompress((real_data / "mnist" / f"{part}-images-idx3-ubyte.gz").read_bytes())
        assert hashlib.md5(content).hexdigest() == md5


def test_facts_say_what_parts_share(dataset):
    facts = " ".join(dataset.facts)
    assert "0 of 1 speaker ids in test also occur in train" in facts
    assert "independent by construction" in facts
    assert "effective sample size" in facts


def test_the_decoded_dataset_has_the_same_bytes_on_every_machine(dataset):
    assert dataset.fingerprint() == "4b0d3726c011198f079b1a2d8c49847c2f1bd7e02adc6e9fae1a4cb7b6449eb7"


def slow_log_mel(samples):
    """The spectrogram by its definition: explicit Fourier sums, triangles on the HTK scale, decibels below the peak."""
    wave = np.zeros(WINDOW + (FRAMES - 1) * HOP)
    wave[: len(samples)] = samples[: len(wave)]
    n = np.arange(WINDOW)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / WINDOW)
    bins = np.arange(WINDOW // 2 + 1)
    fourier = np.exp(-2j * np.pi * np.outer(bins, n) / WINDOW)
    power = np.stack([np.abs(fourier @ (hann * wave[k * HOP : k * HOP + WINDOW])) ** 2 for k in range(FRAMES)], axis=1)
    low, high = (2_595 * np.log10(1 + hertz / 700) for hertz in (60.0, 4_000.0))
    corners = 700 * (10 ** (np.linspace(low, high, MELS + 2) / 2_595) - 1)
    hertz = bins * 8_000 / WINDOW
    bands = np.zeros((MELS, FRAMES))
    for band in range(MELS):
        left, middle, right = corners[band : band + 3]
        weight = np.clip(np.minimum((hertz - left) / (middle - left), (right - hertz) / (right - middle)), 0, None)
        bands[band] = weight @ power
    with np.errstate(divide="ignore"):
        decibels = 10 * np.log10(bands / bands.max())
    return 1 + np.maximum(decibels, -RANGE_DB) / RANGE_DB


def test_a_spectrogram_follows_its_definition():
    for samples in (speech(), speech(12_000, seed=1)):
        np.testing.assert_allclose(log_mel([samples])[0, 0], slow_log_mel(samples), atol=0.51 / STEPS)


def test_loudness_leaves_no_trace():
    quiet = speech().astype(np.int32)
    np.testing.assert_array_equal(log_mel([quiet * 8]), log_mel([quiet]))


def test_a_recording_is_scaled_by_itself_alone():
    recordings = [speech(3_000, seed) * (1 + seed % 3) for seed in range(300)]  # more than one block
    together = log_mel(recordings)
    for row in (0, 249, 250, 299):
        np.testing.assert_array_equal(log_mel([recordings[row]])[0], together[row])


def test_padding_is_silence_and_silence_is_zero():
    assert not log_mel([np.zeros(2_000, np.int16)]).any()
    padded = log_mel([speech(2_000)])[0, 0]
    assert not padded[:, 2_000 // HOP + 1 :].any()
    assert padded.max() == 1


@pytest.fixture
def root(real_data, tmp_path):
    """A data root of links to the real files, for replacing one."""
    for file in av_digits.CONTENT:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).symlink_to(real_data / file)
    return tmp_path


def damage(root, file, change):
    path = root / file
    content = bytearray(path.read_bytes())
    path.unlink()
    path.write_bytes(change(content))


def flip_middle(content):
    content[len(content) // 2] ^= 0x55
    return content


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("fsdd/recordings.tar", lambda content: content[: len(content) // 2], "not a complete tar archive|lacks"),
        ("fsdd/recordings.tar", lambda content: content[:512], "not a complete tar archive|lacks"),
        ("fsdd/recordings.tar", flip_middle, "recordings.tar"),
        ("mnist/train-images-idx3-ubyte.gz", lambda content: content[:100_000], "truncated or corrupt"),
        ("mnist/train-images-idx3-ubyte.gz", flip_middle, "train-images"),
        ("mnist/t10k-images-idx3-ubyte.gz", lambda content: gzip.compress(bytes(500)), "does not hold the published"),
        ("av_digits/pairs.csv", lambda content: content.replace(b"47422", b"47423"), "pairs.csv does not hold"),
        ("av_digits/folds.csv", lambda content: content.replace(b"0,george", b"0,jackson"), "folds.csv does not hold"),
    ],
)
def test_a_damaged_file_is_named(root, file, change, message):
    damage(root, file, change)
    with pytest.raises(TcmaxError, match=message) as raised:
        load(root)
    assert str(root / file) in str(raised.value)


def test_tables_with_other_line_ends_are_the_same_tables(root):
    damage(root, "av_digits/folds.csv", lambda content: content.replace(b"\n", b"\r\n"))
    assert len(av_digits.table(root, "av_digits/folds.csv")) == 6


def test_a_table_of_writers_that_is_not_one_is_named(root):
    damage(root, "mnist/writers.npz", lambda content: content[:1_000])
    with pytest.raises(TcmaxError, match=r"writers.npz is not the table of writers"):
        av_digits.writers(root)


def test_a_missing_root_or_file_names_the_command_that_helps(root, monkeypatch):
    shutil.rmtree(root / "mnist")
    with pytest.raises(TcmaxError, match=r"train-images-idx3-ubyte.gz is missing; run `tcmax data fetch av-digits`"):
        load(root)
    monkeypatch.delenv("TCMAX_DATA", raising=False)
    with pytest.raises(TcmaxError, match=r"TCMAX_DATA .*`tcmax data fetch av-digits`"):
        load()
