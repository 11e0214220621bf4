"""A tiny CLIP model with random weights, for tests."""

from pathlib import Path
from typing import Any

TINY: dict[str, Any] = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 224, "layers": 1, "width": 64, "patch_size": 56},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def write_weights(path: Path, sizes: dict[str, Any] = TINY) -> Path:
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(open_clip.CLIP(**sizes, quick_gelu=True).state_dict(), path)
    return path
