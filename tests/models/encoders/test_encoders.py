"""Encoders: shapes, the stated architecture, and what they refuse."""

import pytest
import torch

from tcmax.models.classifier import initialise
from tcmax.models.encoders import ENCODERS
from tcmax.models.encoders.cnn import CNN, CNNParameters
from tcmax.models.encoders.identity import Identity, IdentityParameters
from tcmax.models.encoders.linear import Linear, LinearParameters
from tcmax.models.encoders.mlp import MLP, MLPParameters
from tcmax.models.encoders.resnet import ResNet18, ResNet18Parameters

SHAPES = {"mlp": (3, 5), "cnn": (2, 16, 9), "resnet18": (2, 33, 40), "identity": (3, 5), "linear": (3, 5)}


@pytest.mark.parametrize("kind", sorted(ENCODERS.entries))
def test_a_batch_becomes_features_of_the_stated_width(kind):
    cls = ENCODERS.load(kind)
    encoder = cls(SHAPES[kind], cls.Parameters())
    for batch in (1, 7):
        encoder.train(batch > 1)
        assert encoder(torch.zeros(batch, *SHAPES[kind])).shape == (batch, encoder.width)


@pytest.mark.parametrize("kind", sorted(ENCODERS.entries))
def test_items_are_encoded_independently_in_evaluation_mode(kind):
    cls = ENCODERS.load(kind)
    encoder = cls(SHAPES[kind], cls.Parameters()).double().eval()
    x = torch.randn(4, *SHAPES[kind], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([encoder(x[row : row + 1]) for row in range(4)])
    torch.testing.assert_close(encoder(x), alone)


@pytest.mark.parametrize("kind", ["cnn", "mlp"])
def test_gradients_agree_with_finite_differences(kind):
    cls = ENCODERS.load(kind)
    small = {"mlp": ((3,), MLPParameters((2, 2))), "cnn": ((1, 4, 4), CNNParameters((2,)))}
    torch.manual_seed(0)
    encoder = cls(*small[kind]).double().eval()
    x = torch.randn(2, *small[kind][0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(encoder, (x,))


def test_the_perceptron_is_linear_relu_for_each_width():
    encoder = MLP((2, 3), MLPParameters((5, 4))).double()
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    one, two = encoder.layers[1], encoder.layers[3]
    with torch.no_grad():
        hidden = (x.reshape(6, 6) @ one.weight.T + one.bias).clamp_min(0)
        expected = (hidden @ two.weight.T + two.bias).clamp_min(0)
    torch.testing.assert_close(encoder(x), expected)
    assert (encoder.width, len(encoder.layers)) == (4, 5)


def test_the_linear_encoder_is_one_matrix_and_a_bias():
    encoder = Linear((2, 3), LinearParameters(4)).double()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(encoder(x), x.reshape(5, 6) @ encoder.linear.weight.T + encoder.linear.bias)
    with pytest.raises(ValueError, match="width must be at least 1"):
        LinearParameters(0)


def test_a_resnet_starts_with_kaiming_normal_kernels_and_neutral_batch_norms():
    encoder = ResNet18((3, 32, 32), ResNet18Parameters())
    initialise(encoder, "d", 0, 0)
    for kernel in (module.weight for module in encoder.modules() if isinstance(module, torch.nn.Conv2d)):
        fan_out = kernel.shape[0] * kernel.shape[2] * kernel.shape[3]
        assert kernel.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert all((m.weight == 1).all() for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_the_identity_has_nothing_to_learn():
    encoder = Identity((2, 3), IdentityParameters())
    x = torch.arange(12.0).reshape(2, 2, 3)
    torch.testing.assert_close(encoder(x), torch.arange(12.0).reshape(2, 6))
    assert list(encoder.parameters()) == []


def test_the_convolutional_encoder_averages_over_space():
    encoder = CNN((1, 8, 8), CNNParameters((3,))).double().eval()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(encoder(x), encoder.layers(x).flatten(2).mean(2))
    assert encoder.layers(x).shape == (2, 3, 4, 4)


@pytest.mark.parametrize("shape", [(1, 7, 8), (1, 8, 7), (8, 8), (1, 2, 8, 8)])
def test_inputs_too_small_or_of_another_rank_are_refused(shape):
    with pytest.raises(ValueError, match="at least 8 pixels a side"):
        CNN(shape, CNNParameters((2, 2, 2)))
    CNN((1, 8, 8), CNNParameters((2, 2, 2)))


@pytest.mark.parametrize("widths", [(), (0,), (4, -1)])
def test_widths_must_be_positive(widths):
    with pytest.raises(ValueError, match="hidden must list"):
        MLPParameters(widths)
    with pytest.raises(ValueError, match="channels must list"):
        CNNParameters(widths)


def test_resnet18_is_torchvisions_with_any_number_of_channels():
    encoder = ResNet18((3, 64, 64), ResNet18Parameters()).double().eval()
    from torchvision.models import resnet18  # which only this test needs, and which takes seconds

    theirs = resnet18(weights=None, num_classes=1).double().eval()
    theirs.fc = torch.nn.Identity()
    ours = iter(encoder.state_dict().values())
    theirs.load_state_dict({name: next(ours) for name in theirs.state_dict()})
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(encoder(x), theirs(x))
    assert encoder.width == 512
    # The count published for ResNet-18 with 1,000 classes, less its classifier; a channel of the stem is 64 kernels.
    count = sum(weight.numel() for weight in encoder.parameters())
    assert count == 11_689_512 - 1000 * 513
    spectrogram = ResNet18((1, 129, 862), ResNet18Parameters())
    assert sum(weight.numel() for weight in spectrogram.parameters()) == count - 2 * 64 * 49


def test_the_feature_of_a_clip_is_the_average_over_its_frames_in_any_order():
    encoder = ResNet18((3, 2, 40, 33), ResNet18Parameters()).double().eval()
    clip = torch.randn(2, 3, 2, 40, 33, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        frames = torch.stack([encoder(clip[:, frame]) for frame in range(3)])
        torch.testing.assert_close(encoder(clip), frames.mean(0))
        torch.testing.assert_close(encoder(clip.flip(1)), encoder(clip))


@pytest.mark.parametrize("shape", [(8, 8), (1, 2, 3, 8, 8)])
def test_resnet18_needs_images_or_clips(shape):
    with pytest.raises(ValueError, match="channels, height, width"):
        ResNet18(shape, ResNet18Parameters())
