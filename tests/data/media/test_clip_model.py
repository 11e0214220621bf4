"""CLIP models on random weights: sizes, preprocessing, and files that hold no weights.

Real weights cannot be had here: what is checked is that the model of the file computes on the right pixels and tokens.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tweets_files import TINY, write_weights

from tcmax.data.media import clip_model
from tcmax.data.media.clip_model import MODELS, ClipModel, architecture
from tcmax.errors import TcmaxError

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # as published with CLIP


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="module")
def model(weights):
    return ClipModel(TINY, weights)


def picture(path, height, width):
    values = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3)).astype(np.uint8)
    Image.fromarray(values.repeat(4, 0).repeat(4, 1)).save(path)
    return path


def reference(weights, sizes=TINY):
    """The same network, built and filled by hand."""
    import open_clip
    from safetensors.torch import load_file

    network = open_clip.CLIP(**sizes, quick_gelu=True)
    network.load_state_dict(load_file(weights))
    return network.eval()


def test_an_image_is_resized_to_its_shorter_side_cut_and_normalised(model, weights, tmp_path):
    path = picture(tmp_path / "wide.png", 300, 500)
    resized = Image.open(path).resize((373, 224), Image.Resampling.BICUBIC)  # 500 * 224 / 300 = 373.3
    pixels = np.asarray(resized)[:, 74:298] / 255  # (373 - 224) / 2 = 74.5, rounded to even
    pixels = torch.tensor((pixels - MEAN) / STD, dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = reference(weights).encode_image(pixels)[0].numpy()
    found = model.image(path)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.image(path), found)


def test_a_text_is_cut_to_the_length_of_the_model(model):
    whole = model.text("cat " * 75)  # with both ends 77 tokens
    np.testing.assert_array_equal(model.text("cat " * 300), whole)
    assert np.abs(model.text("cat " * 74) - whole).max() > 1e-4
    np.testing.assert_array_equal(model.text("A  CAT"), model.text("a cat"))
    assert np.abs(model.text("a dog") - model.text("a cat")).max() > 1e-4


def test_images_of_any_kind_of_colour_are_read(model, tmp_path):
    values = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    grey, rgb = tmp_path / "grey.png", tmp_path / "rgb.png"
    Image.fromarray(values).save(grey)
    Image.fromarray(np.repeat(values[:, :, None], 3, axis=2)).save(rgb)
    np.testing.assert_array_equal(model.image(grey), model.image(rgb))
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    palette = Image.fromarray(colours).quantize(50)  # numbers of neighbouring colours mean nothing
    palette.save(tmp_path / "palette.png")
    palette.convert("RGB").save(rgb)
    np.testing.assert_array_equal(model.image(tmp_path / "palette.png"), model.image(rgb))


def test_a_network_with_batch_norms_uses_what_they_learned(tmp_path):
    sizes = {**TINY, "vision_cfg": {"image_size": 224, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}}
    weights = write_weights(tmp_path / "resnet.safetensors", sizes)
    path = picture(tmp_path / "1.png", 224, 224)
    pixels = torch.tensor((np.asarray(Image.open(path)) / 255 - MEAN) / STD, dtype=torch.float32).permute(2, 0, 1)
    with torch.no_grad():
        expected = reference(weights, sizes).encode_image(pixels[None])[0].numpy()
    np.testing.assert_allclose(ClipModel(sizes, weights).image(path), expected, rtol=1e-4, atol=1e-5)


def test_what_is_no_image_is_said_in_one_sentence(model, tmp_path, monkeypatch):
    whole = picture(tmp_path / "1.jpg", 64, 64).read_bytes()
    for content in (whole[: len(whole) // 2], b"<html>", b""):
        (tmp_path / "1.jpg").write_bytes(content)
        with pytest.raises(TcmaxError, match=r"1\.jpg is not a whole image"):
            model.image(tmp_path / "1.jpg")
    with pytest.raises(TcmaxError, match=r"cannot read .*2\.jpg"):
        model.image(tmp_path / "2.jpg")
    monkeypatch.setattr(clip_model, "_LARGEST_PIXELS", 1_000)
    with pytest.raises(TcmaxError, match="64 x 64 pixels, more than 1,000"):
        model.image(picture(tmp_path / "3.png", 64, 64))


@pytest.mark.filterwarnings("ignore:.*TorchScript archive", "ignore:.*torch.jit.script")
def test_weights_come_from_checkpoints_of_either_kind_and_nothing_is_executed(weights, model, tmp_path):
    state = reference(weights).state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "tiny.pt")
    np.testing.assert_array_equal(ClipModel(TINY, tmp_path / "tiny.pt").text("a cat"), model.text("a cat"))
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "half.bin")
    np.testing.assert_allclose(ClipModel(TINY, tmp_path / "half.bin").text("a cat"), model.text("a cat"), atol=0.05)

    class Harm:
        def __reduce__(self):
            return (tmp_path.joinpath("harm").write_text, ("done",))

    torch.save({"weights": Harm()}, tmp_path / "harm.pt")
    with pytest.raises(TcmaxError, match=r"harm\.pt does not hold the weights of this CLIP model"):
        ClipModel(TINY, tmp_path / "harm.pt")
    assert not (tmp_path / "harm").exists()
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "program.pt")
    with pytest.raises(TcmaxError, match=r"program\.pt is a TorchScript program, which is not run"):
        ClipModel(TINY, tmp_path / "program.pt")


def test_a_file_of_other_weights_is_refused(weights, tmp_path):
    wider = json.loads(json.dumps(TINY))
    wider["embed_dim"] = 16
    with pytest.raises(TcmaxError, match=r"tiny\.safetensors does not hold the weights"):
        ClipModel(wider, weights)
    with pytest.raises(TcmaxError, match=r"cannot read .*none\.safetensors"):
        ClipModel(TINY, tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:1_000])
    with pytest.raises(TcmaxError, match=r"cut\.safetensors does not hold the weights"):
        ClipModel(TINY, tmp_path / "cut.safetensors")
    (tmp_path / "tiny.npz").write_bytes(b"x")
    with pytest.raises(TcmaxError, match=r"come as \.safetensors"):
        ClipModel(TINY, tmp_path / "tiny.npz")


def test_the_models_have_the_published_sizes():
    sizes = {name: architecture(name) for name in MODELS}
    assert {name: found["embed_dim"] for name, found in sizes.items()} == {"rn50": 1024, "vit-b-32": 512}
    assert sizes["rn50"]["vision_cfg"]["layers"] == [3, 4, 6, 3]
    assert (sizes["vit-b-32"]["vision_cfg"]["patch_size"], sizes["vit-b-32"]["vision_cfg"]["width"]) == (32, 768)
    with pytest.raises(TcmaxError, match="no CLIP model 'rn101' here; known are rn50, vit-b-32"):
        architecture("rn101")


def test_without_the_package_one_sentence_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(TcmaxError, match=r"pip install 'tcmax\[clip\]'"):
        architecture("rn50")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "width", "millions"), [("rn50", 1024, 102.0), ("vit-b-32", 512, 151.3)])
def test_a_model_of_full_size_makes_features_of_the_published_width(name, width, millions, tmp_path):
    import open_clip
    from safetensors.torch import save_file

    network = open_clip.CLIP(**architecture(name), quick_gelu=True)
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    save_file({key: value.half() for key, value in network.state_dict().items()}, tmp_path / "weights.safetensors")
    model = ClipModel(architecture(name), tmp_path / "weights.safetensors")
    for found in (model.image(picture(tmp_path / "1.jpg", 300, 400)), model.text("a tweet of one image")):
        assert found.shape == (width,)
        assert np.isfinite(found).all()
