"""What becomes of stored rows on the device that trains: crops, flips, spectrograms, normalisation.

Pure functions of tensors and of what was drawn for them. On a processor frames are resized one by one by torch's code
for bytes, on a GPU all together by two matrix products; both are within one grey level of torchvision's transforms.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tcmax.data.media.sound_crop import STFT_HOP, STFT_RATE_HZ, STFT_SECONDS, STFT_WINDOW

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def resized_crops(frames: Tensor, boxes: Tensor, mirrored: Tensor, side: int) -> Tensor:
    """A box of each frame, resized to `side` x `side`, and mirrored where asked for: (K, side, side, 3) uint8.

    Bilinear, with antialiasing where a box is made smaller. frames: (K, S, S, 3) uint8. boxes: (K, 4) int64, top, left,
    height, width, and mirrored: (K,) bool, both on the CPU.
    """
    resize = resized_each if frames.device.type == "cpu" else resized_together
    return resize(frames, boxes, mirrored, side)


def resized_each(frames: Tensor, boxes: Tensor, mirrored: Tensor, side: int) -> Tensor:
    """`resized_crops`, frame by frame."""
    resized = _empty((len(frames), side, side, 3), frames)
    for number, ((top, left, height, width), flip) in enumerate(zip(boxes.tolist(), mirrored.tolist(), strict=True)):
        crop = frames[number : number + 1, top : top + height, left : left + width].permute(0, 3, 1, 2)
        if (height, width) != (side, side):
            crop = interpolate(crop, (side, side), mode="bilinear", antialias=True)
        resized[number] = (crop.flip(-1) if flip else crop)[0].permute(1, 2, 0)
    return resized


def resized_together(frames: Tensor, boxes: Tensor, mirrored: Tensor, side: int) -> Tensor:
    """`resized_crops`, as products of all frames with matrices of weights."""
    top, left, height, width = boxes.to(frames.device).unbind(-1)
    rows, columns = _weights(top, height, side, frames.shape[1]), _weights(left, width, side, frames.shape[2])
    columns = torch.where(mirrored.to(frames.device)[:, None, None], columns.flip(1), columns)
    levels = rows[:, None] @ frames.permute(0, 3, 1, 2).to(rows.dtype) @ columns.mT[:, None]
    return levels.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _weights(start: Tensor, length: Tensor, side: int, n_pixels: int) -> Tensor:
    """(K, side, n_pixels) float32: the share of each pixel in each resized one, a triangle of at least a pixel."""
    start, length = start.double()[:, None, None], length.double()[:, None, None]
    scale = length / side
    pixel = torch.arange(n_pixels, device=start.device) + 0.5
    centre = start + (torch.arange(side, device=start.device)[:, None] + 0.5) * scale
    inside = (pixel > start) & (pixel < start + length)
    weights = (1 - ((pixel - centre) / scale.clamp(min=1)).abs()).clamp(min=0) * inside
    return (weights / weights.sum(-1, keepdim=True)).float()


def normalised(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Levels (K, height, width, 3) uint8 to (level / 255 - mean) / std of ImageNet's colours: (K, 3, height, width)."""
    mean, std = torch.tensor([IMAGENET_MEAN, IMAGENET_STD], dtype=torch.float64).unbind()
    values = _empty(frames.shape, frames, dtype).copy_(frames)
    lines = values.flatten(2)  # a factor for each colour alone is too short to be multiplied fast
    lines.mul_((1 / (255 * std)).to(lines).repeat(frames.shape[2]))
    lines.add_((-mean / std).to(lines).repeat(frames.shape[2]))
    return values.permute(0, 3, 1, 2)


def fields(flow: Tensor, mirrored: Tensor, side: int, transposed: bool, dtype: torch.dtype) -> Tensor:
    """Flow fields (B, 2 n, S, S), all x and then all y, resized to `side`, and mirrored where asked for.

    A mirrored clip moves the other way: x changes its sign. mirrored: (B,) bool, on the CPU. transposed: a field's
    rows are the clip's columns.
    """
    flow = flow.to(dtype)
    if flow.shape[-1] != side:
        flow = interpolate(flow, (side, side), mode="bilinear", antialias=True)
    flipped = flow.flip(-2 if transposed else -1)
    flipped[:, : flow.shape[1] // 2].neg_()
    return torch.where(mirrored.to(flow.device)[:, None, None, None], flipped, flow)


def log_spectrograms(samples: Tensor, starts: Tensor, dtype: torch.dtype) -> Tensor:
    """log(|STFT| + 1e-7) of five seconds of each recording: (B, 1, 129, 862), as `decoding.log_spectrogram`.

    Computed in double precision and rounded once. samples: (B, n). starts: (B,) int64, first samples.
    """
    within = torch.arange(STFT_SECONDS * STFT_RATE_HZ, device=samples.device)
    crops = samples.gather(1, starts.to(samples.device)[:, None] + within).double()
    window = torch.hann_window(STFT_WINDOW, dtype=torch.float64, device=samples.device)
    spectrum = torch.stft(
        crops, STFT_WINDOW, STFT_HOP, window=window, center=True, pad_mode="constant", return_complex=True
    )
    return (spectrum.abs() + 1e-7).log()[:, None].to(dtype)


def _empty(shape: tuple[int, ...], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """An uninitialised tensor on the device of `like`, and of its type unless another is asked for.

    On a processor it is NumPy that allocates: it asks for large pages, without which the system hands out a batch of
    frames page by page in more time than it takes to compute them.
    """
    dtype = dtype or like.dtype
    if like.device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=like.device)
    return torch.from_numpy(np.empty(shape, torch.empty((), dtype=dtype).numpy().dtype))
