"""MVSA-Single from tweets as distributed to a dataset that trains."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from stores import make_here
from tweets_files import TINY, write_weights
from typer.testing import CliRunner

from tcmax.cli import app
from tcmax.commands import prepare_media
from tcmax.commands.prepare_media import prepare_tweets
from tcmax.data import DATASETS, mvsa
from tcmax.data.fetching.fetch import verify
from tcmax.data.media import store
from tcmax.data.media.clip_model import ClipModel
from tcmax.data.media.store import Effort, Store
from tcmax.errors import TcmaxError

N = 40


@pytest.fixture(autouse=True)
def tiny_and_here(monkeypatch):
    """Models of a tiny size; shards are made in this process."""
    monkeypatch.setattr(prepare_media, "architecture", lambda name: TINY)
    monkeypatch.setattr(store, "_make_shards", make_here)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture
def source(tmp_path):
    """Tweets laid out as distributed: two have one text, one text is not UTF-8, one image is cut, one is missing."""
    folder = tmp_path / "MVSA_Single" / "data"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["ID\ttext,image"]
    for number in range(1, N + 1):
        label = ("positive", "negative")[number % 2]
        lines.append(f"{number}\t{label},{label if number % 3 else 'neutral'}")
        Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)).save(folder / f"{number}.jpg")
        (folder / f"{number}.txt").write_text(f"a {label} day, number {number}")
    for number in (5, 6):
        (folder / f"{number}.txt").write_text(f"sunny https://t.co/{number}")
    (folder / "7.txt").write_bytes("café".encode("latin-1"))
    (folder / "8.jpg").write_bytes((folder / "8.jpg").read_bytes()[:300])
    (folder / "10.txt").unlink()
    (folder.parent / "labelResultAll.txt").write_text("\n".join([*lines, "41\tpositive,negative"]) + "\n")
    return folder.parent


def test_tweets_become_features_that_a_config_can_name(source, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("TCMAX_DATA", str(tmp_path / "data"))
    text = prepare_tweets(source, weights, labels="merged", effort=Effort(failed_share=0.1))
    folder = tmp_path / "data" / "stores" / "mvsa-single-rn50"
    assert "labels: merged, 40 of 41 tweets" in text
    assert "features of 20 negative, 0 neutral, 18 positive; 30 train, 4 val, 4 test" in text
    assert "prepared 38 of 40 rows" in text
    reasons = Store(folder).failed
    assert list(reasons) == ["8", "10"]
    assert reasons["8"].startswith("data/8.jpg is not a whole image")
    assert reasons["10"] == "tweet 10 has no text file."

    dataset = DATASETS.load("mvsa-single-rn50")()
    assert dataset.class_names == ("negative", "neutral", "positive")
    assert {name: dataset.shape(name) for name in dataset.modalities} == {"image": (8,), "text": (8,)}
    row = dataset.items.tolist().index("7")
    assert dataset.labels.tolist() == [0 if int(item) % 2 else 2 for item in dataset.items]
    model = ClipModel(TINY, weights)
    np.testing.assert_array_equal(dataset.inputs["image"][row], model.image(source / "data" / "7.jpg"))
    np.testing.assert_array_equal(dataset.inputs["text"][row], model.text("café"))
    texts = dict(zip(dataset.items.tolist(), dataset.groups["text"].tolist(), strict=True))
    assert texts["5"] == texts["6"]
    assert len(set(texts.values())) == 37
    assert any(fact.endswith("text ids in test also occur in train") for fact in dataset.facts)
    assert dataset.card is mvsa.CARD
    assert not dataset.official_validation

    before = (folder / "features.npz").stat().st_mtime_ns
    prepare_tweets(source, weights, labels="merged", effort=Effort(failed_share=0.1))
    assert (folder / "features.npz").stat().st_mtime_ns == before
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    other = weights.with_name("other.safetensors")
    other.write_bytes(content)
    with pytest.raises(TcmaxError, match=r"begun with other settings \(weights\)"):
        prepare_tweets(source, other, labels="merged")


def test_validation_is_official_where_the_released_lists_name_it(source, weights, tmp_path, monkeypatch):
    root = tmp_path / "data"
    monkeypatch.setenv("TCMAX_DATA", str(root))
    agreeing = [number for number in range(1, N + 1) if number % 3]
    (root / "splits" / "MVSA_Single").mkdir(parents=True)
    for file, members in (("train", agreeing[:19]), ("dev", agreeing[19:23]), ("test", agreeing[23:])):
        lines = [f"{number},{('positive', 'negative')[number % 2]}" for number in members]
        (root / "splits" / "MVSA_Single" / f"{file}.csv").write_text("\n".join(["id,label", *lines]))
    prepare_tweets(source, weights, effort=Effort(failed_share=0.1))
    dataset = mvsa.rn50()
    assert dataset.official_validation
    (fold,) = dataset.folds
    assert dataset.items[fold.val].tolist() == [str(number) for number in agreeing[19:23]]

    assert verify("mvsa-single-rn50") == f"ok  {root}/stores/mvsa-single-rn50"
    features = root / "stores" / "mvsa-single-rn50" / mvsa.FEATURES
    content = bytearray(features.read_bytes())
    content[200] ^= 1  # among the numbers of the first array
    features.write_bytes(content)
    with pytest.raises(TcmaxError, match=r"features\.npz: 'inputs_image' cannot be read"):
        verify("mvsa-single-rn50")


def test_tweets_need_no_library_that_decodes_sound_and_video():
    missing = "import sys; sys.modules['av'] = None; "
    for module, status, words in (
        ("tcmax.commands.prepare_media", 0, ""),
        ("tcmax.data.media.clip_maker", 1, "PyAV, which is not installed: pip install 'tcmax[media]'"),
    ):
        done = subprocess.run([sys.executable, "-c", f"{missing}import {module}"], capture_output=True, text=True)
        assert done.returncode == status
        assert words in done.stderr


def test_what_is_missing_is_said_in_one_sentence(source, weights, tmp_path, monkeypatch):
    monkeypatch.delenv("TCMAX_DATA", raising=False)
    with pytest.raises(TcmaxError, match=r"where to\? Give a folder with --store"):
        prepare_tweets(source, weights)
    with pytest.raises(TcmaxError, match="mvsa-single-vit-b-32 needs a data root"):
        mvsa.vit_b_32()
    monkeypatch.setenv("TCMAX_DATA", str(tmp_path))
    with pytest.raises(TcmaxError, match=r"run `tcmax prepare mvsa-single --source TWEETS --model vit-b-32 --weights"):
        mvsa.vit_b_32()
    with pytest.raises(TcmaxError, match=r"cannot read .*none\.safetensors"):
        prepare_tweets(source, tmp_path / "none.safetensors", labels="merged")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(TcmaxError, match=r"bad\.safetensors does not hold the weights"):
        prepare_tweets(source, tmp_path / "bad.safetensors", labels="merged")
    assert not (tmp_path / "stores").exists()
    with pytest.raises(TcmaxError, match=r"holds 0 files called labelResultAll\.txt, not one"):
        prepare_tweets(source / "data", weights)
    with pytest.raises(TcmaxError, match=r"1 of 40 items failed, more than the 1\.0% allowed; the first is 10"):
        prepare_tweets(source, weights, labels="merged")
    refused = CliRunner().invoke(app, ["prepare", "mvsa-single", "--source", str(source)])
    assert str(refused.exception) == "mvsa-single needs a CLIP model: give the file of its weights with --weights."
    refused = CliRunner().invoke(
        app, ["prepare", "mvsa-single", "--source", str(source), "--seed", "1", "--switch", "a=b"]
    )
    assert str(refused.exception) == "mvsa-single does not take --seed, --switch."
    refused = CliRunner().invoke(app, ["prepare", "crema-d", "--source", str(source), "--labels", "merged"])
    assert str(refused.exception) == "crema-d does not take --labels."
