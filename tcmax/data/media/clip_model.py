"""Frozen CLIP models: an image or a text to the vector that they are compared by (methods §5.2).

The architectures are those of the open_clip package, with the activation of OpenAI's weights (QuickGELU). Weights come
from a file of the user's, never from the network, and nothing in it is executed. One item at a time is computed, in
single precision, so that a feature does not depend on its neighbours in a batch.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tcmax.errors import TcmaxError
from tcmax.records.files import explained

if TYPE_CHECKING:
    from torch import nn

# Our names of the models, and the package's. Their weights as the package reads them are
# "open_clip_model.safetensors" in the repositories timm/resnet50_clip.openai and timm/vit_base_patch32_clip_224.openai.
MODELS = {"rn50": "RN50", "vit-b-32": "ViT-B-32"}
_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_LARGEST_PIXELS = 100_000_000


def architecture(name: str) -> dict[str, Any]:
    """Sizes of a model, as open_clip spells them. Raises TcmaxError when it is unknown or open_clip is missing."""
    if name not in MODELS:
        raise TcmaxError(f"there is no CLIP model {name!r} here; known are {', '.join(MODELS)}.")
    found: dict[str, Any] = _open_clip().get_model_config(MODELS[name])
    return found


class ClipModel:
    """A model with its weights, in evaluation mode on the CPU.

    sizes: as `architecture` gives them. Raises TcmaxError when the file is missing, is of no known format, holds
    Python objects or a program, or does not fit the sizes.
    """

    def __init__(self, sizes: Mapping[str, Any], weights: Path) -> None:
        library = _open_clip()
        self._model: nn.Module = library.CLIP(**sizes, quick_gelu=True)
        _load(library, self._model, Path(weights))
        self._model.eval().requires_grad_(False)
        self._tokens = library.tokenizer.SimpleTokenizer(context_length=sizes["text_cfg"].get("context_length", 77))
        # Resize the shorter side with bicubic interpolation, cut out the centre, normalise: CLIP's own.
        self._pixels = library.image_transform(sizes["vision_cfg"]["image_size"], is_train=False)

    def image(self, path: Path) -> np.ndarray:
        """(d,) float32 of an image file, its first frame when it has several. Raises TcmaxError when it is none."""
        from PIL import Image

        try:
            with explained("read", path), Image.open(path) as opened:
                width, height = opened.size
                if width * height > _LARGEST_PIXELS:
                    raise TcmaxError(f"{path} has {width:,} x {height:,} pixels, more than {_LARGEST_PIXELS:,} in all.")
                pixels = self._pixels(opened.convert("RGB"))
        except TcmaxError as error:
            # Pillow raises OSError without a number for what is wrong with the content.
            if isinstance(error.__cause__, OSError) and error.__cause__.errno is None:
                raise TcmaxError(f"{path} is not a whole image ({error.__cause__}).") from error
            raise
        except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise TcmaxError(f"{path} is not a whole image ({error}).") from error
        return self._feature(self._model.encode_image, pixels[None])

    def text(self, content: str) -> np.ndarray:
        """(d,) float32 of a text, cut to the model's length (77 tokens with both ends)."""
        return self._feature(self._model.encode_text, self._tokens([content]))

    @staticmethod
    def _feature(encode: Any, batch: Any) -> np.ndarray:
        found: np.ndarray = encode(batch)[0].float().numpy()
        return found


@lru_cache(maxsize=1)
def loaded(sizes: str, weights: Path) -> ClipModel:
    """The model of these sizes (as JSON) with the weights of a file; once per process."""
    import json

    return ClipModel(json.loads(sizes), weights)


def _open_clip() -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise TcmaxError("CLIP features need open_clip, which is not installed: pip install 'tcmax[clip]'.") from error
    return open_clip


def _load(library: Any, model: "nn.Module", path: Path) -> None:
    with explained("read", path), path.open("rb"):
        pass
    if path.suffix not in _SUFFIXES:
        raise TcmaxError(f"{path}: weights of a CLIP model come as {', '.join(_SUFFIXES)}.")
    try:
        library.load_checkpoint(model, str(path), strict=True, weights_only=True)
    except Exception as error:  # what a file that is no checkpoint raises is nowhere listed
        if "TorchScript" in str(error):
            raise TcmaxError(
                f"{path} is a TorchScript program, which is not run; take the same weights as .safetensors."
            ) from error
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TcmaxError(f"{path} does not hold the weights of this CLIP model ({reason[0].rstrip(':. ')}).") from error
