"""MMCosine: joint learning on cosine logits (arXiv 2303.05338; methods §5.3).

L = CE(f, y), f = sum_m u^m, u^m_c = s cos(z^m, W_m,c): features and class weights are normalised per modality, so that
none wins by its norm. Scores stay within M s, which keeps the loss above log(1 + (C - 1) exp(-2 M s)).

The idea lives in the head (`cosine`), and so does the deviation of the authors' evaluation; training is that of joint
learning. Overrides `check` only. The authors' SGD is the paper's, with 200 epochs and a drop at 100.
"""

from typing import ClassVar

from tcmax.methods.joint import Joint
from tcmax.models.classifier import MultimodalClassifier
from tcmax.models.fusion.cosine import Cosine


class MMCosine(Joint):
    """Joint cross-entropy; needs the cosine head, which holds the scale s."""

    default_head: ClassVar[str] = "cosine"
    side_by_side = True

    def check(self, model: MultimodalClassifier) -> None:
        if not isinstance(model.head, Cosine):
            raise ValueError("MMCosine is joint learning on cosine logits: use the head cosine")
