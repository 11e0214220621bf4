"""grid-letters as loaded from the real file, and the noise that is added to it."""

import numpy as np
import pytest

from tcmax.data.grid_letters import FILE, load, log_mel, with_noise

pytest.importorskip("torchaudio", reason="the train extra is not installed")


@pytest.fixture(scope="module")
def root(data_with):
    return data_with(FILE.file)


@pytest.fixture(scope="module")
def dataset(root):
    return load(root=root)


@pytest.fixture(scope="module")
def noisy(root):
    return load(0.0, root)


def test_parts_never_share_a_run_and_every_item_tests_once(dataset):
    run = dataset.groups["run"]
    assert len(np.unique(run)) == 300
    assert sorted(np.concatenate([fold.test for fold in dataset.folds])) == list(range(1_000))
    for fold in dataset.folds:
        sides = [set(run[fold.part(part)]) for part in ("train", "val", "test")]
        assert sum(map(len, sides)) == len(set().union(*sides))
        assert np.bincount(dataset.labels[fold.test]).tolist() == [8] * 25


def test_the_name_of_a_clip_tells_its_letter_and_its_run(dataset):
    for item, label, run in zip(dataset.items, dataset.labels, dataset.groups["run"], strict=True):
        assert dataset.class_names[label] == item[4 - 1]
        assert run == item[:4]


def test_clips_are_scaled_by_themselves(dataset, root):
    with np.load(root / FILE.file) as stored:
        raw = stored["video"][:20].astype(float)
    expected = [(clip - clip.mean()) / clip.std() for clip in raw]
    np.testing.assert_allclose(dataset.inputs["video"][:20], expected, atol=2e-4)


def test_noise_changes_the_sound_alone(dataset, noisy):
    np.testing.assert_array_equal(noisy.inputs["video"], dataset.inputs["video"])
    assert not (noisy.inputs["audio"] == dataset.inputs["audio"]).all(axis=(1, 2, 3)).any()
    # White noise fills what lay far below the peak, so that levels differ less within an item.
    assert (noisy.inputs["audio"].std(axis=(1, 2, 3)) < dataset.inputs["audio"].std(axis=(1, 2, 3))).mean() > 0.99


def test_sound_is_a_spectrogram_of_the_stated_scale_around_its_mean(dataset, root):
    with np.load(root / FILE.file) as stored:
        spectrograms = log_mel(list(stored["audio"][:5].astype(float)))
    for ours, spectrogram in zip(dataset.inputs["audio"], spectrograms, strict=False):
        assert ours.mean() == pytest.approx(0, abs=1e-6)
        np.testing.assert_allclose(ours - ours.max(), spectrogram - 1, atol=1e-6)  # 1 is the peak


def test_noise_has_the_stated_power_and_one_shape_at_all_levels():
    speech = np.random.default_rng(0).standard_normal((3, 4_000)).cumsum(axis=1) * [[1], [10], [0.1]]
    noises = {snr_db: with_noise(speech, snr_db) - speech for snr_db in (5.0, 0.0, -5.0)}
    for snr_db, noise in noises.items():
        ratio = 10 * np.log10((speech**2).mean(axis=1) / (noise**2).mean(axis=1))
        np.testing.assert_allclose(ratio, snr_db, atol=1e-9)
        np.testing.assert_allclose(noise / noises[0.0], 10 ** (-snr_db / 20), rtol=1e-6)
        spectrum = np.abs(np.fft.rfft(noise, axis=1)) ** 2
        assert spectrum[:, 1_000:].mean() == pytest.approx(spectrum[:, 1:1_000].mean(), rel=0.2)


def test_notes_on_length_and_on_the_alphabet_are_true(dataset, root):
    with np.load(root / FILE.file) as stored:
        spans = stored["letter_span_s"]
    assert np.median(spans[:, 1] - spans[:, 0]) == pytest.approx(0.18, abs=5e-3)
    assert "".join(dataset.class_names) == "abcdefghijklmnopqrstuvxyz"


def test_each_level_has_its_id(noisy, dataset):
    assert (dataset.id, noisy.id) == ("grid-letters", "grid-letters-0db")


def test_the_decoded_dataset_has_the_same_bytes_on_every_machine(dataset, noisy):
    assert dataset.fingerprint() == "008527e6fbf7e0e9d790382329a08f59885a1788500cc58f9c792fe1e0a0c520"
    assert noisy.fingerprint() == "fe8c90e633c52541ff08bf31a703e5272931ca8970c31f10a20b981808d42242"
