"""Augmentation against torchvision, the prepared feature and longhand loops; how a crop is drawn."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from tcmax.data.media import decoding
from tcmax.data.views import CROP_TRIES, DRAWS_PER_CROP, crop_boxes
from tcmax.training import augment

RANDOM = np.random.default_rng(5)


@pytest.fixture(scope="module")
def transforms():
    """Torchvision's, which take as long to import as torch."""
    from torchvision import transforms

    return transforms


def longhand_box(uniform, height, width):
    """RandomResizedCrop's algorithm on one clip of height x width, fed with given uniform numbers."""
    for k in range(CROP_TRIES):
        area = height * width * (0.08 + 0.92 * uniform[2 * k])
        ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * uniform[2 * k + 1])
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            place = uniform[2 * CROP_TRIES :]
            return math.floor(place[0] * (height - h + 1)), math.floor(place[1] * (width - w + 1)), h, w
    w = min(width, round(height * 4 / 3))
    h = min(height, round(width / (3 / 4)))
    return (height - h) // 2, (width - w) // 2, h, w


def test_boxes_are_those_of_the_papers_transform_on_a_square_clip(transforms):
    uniform = RANDOM.random((2_000, DRAWS_PER_CROP))
    boxes = crop_boxes(uniform, np.ones(2_000), 96)
    assert boxes.tolist() == [list(longhand_box(row, 96, 96)) for row in uniform.tolist()]
    torch.manual_seed(0)
    theirs = np.array(
        [transforms.RandomResizedCrop.get_params(torch.empty(3, 96, 96), (0.08, 1), (3 / 4, 4 / 3)) for _ in boxes]
    )
    # The laws agree too, not only this reading of the algorithm: means within four standard errors.
    error = np.sqrt((boxes.var(0) + theirs.var(0)) / 2_000)
    assert (np.abs(boxes.mean(0) - theirs.mean(0)) < 4 * error).all()


@pytest.mark.parametrize("aspect", [0.4, 0.6, 16 / 9, 3.0])
def test_area_and_ratio_are_those_of_the_clip_before_it_was_squeezed(aspect):
    side = 1_000_000  # fine enough that rounding decides nothing
    uniform = RANDOM.random((500, DRAWS_PER_CROP))
    boxes = crop_boxes(uniform, np.full(500, aspect), side)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= side).all()
    expected = np.array([longhand_box(row, side, round(side * aspect)) for row in uniform.tolist()])
    np.testing.assert_allclose(boxes * [1, aspect, 1, aspect] / side, expected / side, atol=1e-5)


def test_without_a_fitting_draw_the_crop_is_the_largest_central_one():
    largest_area = np.full((1, DRAWS_PER_CROP), 0.999)
    largest_area[:, 1 : 2 * CROP_TRIES : 2] = 0.5  # of ratio 1, which a clip three times as wide as high cannot hold
    assert crop_boxes(largest_area, np.array([3.0]), 90).tolist() == [[0, 25, 90, 40]]
    assert crop_boxes(largest_area, np.array([1 / 3]), 90).tolist() == [[25, 0, 40, 90]]


@pytest.mark.parametrize("resize", [augment.resized_each, augment.resized_together])
@pytest.mark.parametrize("size", [64, 40])  # enlarged only; made smaller too
def test_pixels_are_within_one_level_of_torchvisions_crop_and_flip(transforms, resize, size):
    frames = torch.from_numpy(RANDOM.integers(0, 256, (12, 64, 64, 3), dtype=np.uint8))
    boxes = torch.from_numpy(crop_boxes(RANDOM.random((12, DRAWS_PER_CROP)), np.ones(12), 64))
    boxes[0] = torch.tensor([0, 0, 64, 64])
    boxes[1] = torch.tensor([63, 0, 1, 2])
    mirrored = torch.arange(12) % 2 == 1
    found = resize(frames, boxes, mirrored, size)
    assert (found.shape, found.dtype) == ((12, size, size, 3), torch.uint8)
    for frame, box, flip, ours in zip(frames, boxes.tolist(), mirrored, found, strict=True):
        picture = transforms.functional.resized_crop(Image.fromarray(frame.numpy()), *box, [size, size])
        expected = np.asarray(transforms.functional.hflip(picture) if flip else picture)
        assert np.abs(ours.numpy().astype(int) - expected).max() <= 1


def test_a_crop_of_the_whole_frame_at_its_own_size_is_the_frame():
    frames = torch.from_numpy(RANDOM.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8))
    whole, no = torch.tensor([[0, 0, 8, 8]] * 2), torch.tensor([False, True])
    for resize in (augment.resized_each, augment.resized_together):
        assert torch.equal(resize(frames, whole, no, 8), torch.stack([frames[0], frames[1].flip(1)]))


def test_levels_are_normalised_as_by_torchvision(transforms):
    frames = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(1, 16, 16, 3)
    picture = transforms.functional.to_tensor(frames[0].numpy())
    expected = transforms.functional.normalize(picture, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    for dtype in (torch.float32, torch.float64):
        found = augment.normalised(frames, dtype)
        assert found.dtype == dtype
        torch.testing.assert_close(found[0].float(), expected, atol=1e-6, rtol=1e-5)


def test_a_mirrored_field_is_that_of_the_mirrored_motion():
    """x and y are linear in the place, so that each pixel's value says where it was."""
    row, column = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    flow = torch.stack([10 * row + column + 1, 2 * (10 * row + column + 1), row, column])[None].half()  # x, x, y, y
    clip = flow.expand(2, 4, 4, 4)
    found = augment.fields(clip, torch.tensor([False, True]), 4, transposed=False, dtype=torch.float32)
    assert torch.equal(found[0], flow[0].float())
    assert torch.equal(found[1, :2], -flow[0, :2].float().flip(-1))
    assert torch.equal(found[1, 2:], flow[0, 2:].float().flip(-1))
    # As released, rows are the clip's columns: mirroring the clip turns the rows around.
    released = augment.fields(clip.mT, torch.tensor([False, True]), 4, transposed=True, dtype=torch.float32)
    assert torch.equal(released, found.mT)
    half = augment.fields(clip, torch.tensor([False, False]), 2, transposed=False, dtype=torch.float32)
    assert half.shape == (2, 4, 2, 2)
    assert half[0, 0].mean().item() == pytest.approx(flow[0, 0].float().mean().item(), abs=1e-4)


def test_a_spectrogram_of_a_crop_is_the_prepared_one():
    samples = RANDOM.uniform(-1, 1, (2, 220_500)).astype(np.float32)
    starts = np.array([0, 110_250])
    found = augment.log_spectrograms(torch.from_numpy(samples), torch.from_numpy(starts), torch.float32)
    for one, start, wave in zip(found.numpy(), starts, samples, strict=True):
        expected = decoding.log_spectrogram(decoding.tiled_crop(wave, start))
        assert one.shape == expected.shape == (1, 129, 862)
        np.testing.assert_allclose(one, expected, atol=1e-5)
