"""The model every method trains: one encoder per modality and a fusion head.

Modality names are data: parameters are handed out by modality, never found by matching names.

Small models cost what their calls cost, not what they compute, so the seeds of a cell train side by side: every tensor
then has a leading axis of seeds, parameters and losses included, and nothing may mix its rows. Shapes in this package
leave that axis out, or write it as the dots of (..., B, C).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tcmax.models.encoders.base import Encoder
from tcmax.models.fusion.base import Head, by_modality
from tcmax.seeding import derive


@dataclass(frozen=True)
class Outputs:
    """What a forward pass yields.

    features: modality -> (..., B, d_m). logits: modality -> (..., B, C), and "joint", the raw output of the head.
    """

    features: dict[str, Tensor]
    logits: dict[str, Tensor]

    @property
    def unimodal(self) -> dict[str, Tensor]:
        """Logits per modality, without the joint ones."""
        return by_modality(self.logits)


@dataclass
class Passes:
    """Forward passes through one encoder: calls, and items in them."""

    calls: int = 0
    rows: int = 0


class MultimodalClassifier(nn.Module):
    """Encoders by modality name, and a head over their features.

    passes: by modality, since `forget_passes`, of one seed. Counted here, where every pass comes by: with a hook on
    each encoder a call takes the slow path of torch.
    seed_axes: 1 where it holds the weights of several seeds (`side_by_side`), else 0.
    """

    def __init__(self, encoders: Mapping[str, Encoder], head: Head) -> None:
        super().__init__()
        self.seed_axes = 0
        self.encoder = nn.ModuleDict(dict(encoders))
        self.head = head
        self.forget_passes()

    def forget_passes(self) -> None:
        """Count forward passes from zero."""
        self.passes = {name: Passes() for name in self.encoder}

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.encoder)

    def encode(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Features by modality."""
        for name, passes in self.passes.items():
            passes.calls += 1
            passes.rows += inputs[name].shape[self.seed_axes]
        return {name: encoder(inputs[name]) for name, encoder in self.encoder.items()}

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        features = self.encode(inputs)
        return Outputs(features, self.head(features))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters of each modality's encoder, and of the head under "head"."""
        groups = {name: list(encoder.parameters()) for name, encoder in self.encoder.items()}
        return {**groups, "head": list(self.head.parameters())}


def side_by_side(models: Sequence[MultimodalClassifier]) -> MultimodalClassifier:
    """The first of several equal models with the weights of all of them, stacked on a leading axis.

    Their encoders and head have to be written for it (`side_by_side` of each). Uses the first model up.
    """
    first = models[0]
    for name, parameter in first.named_parameters():
        parameter.data = torch.stack([model.get_parameter(name).detach() for model in models])
    first.seed_axes = 1
    return first


def initialise(model: nn.Module, *root: str | int, released: bool = False) -> None:
    """Set every parameter from a stream keyed by module path, so that equal parts of two models start equal.

    Each module draws by its own rule (`reset_parameters`) under a seed derived from (root, "init", path), and
    convolutions and batch norms again by the released rule if `released`. The global generator is left as it was found.
    Raises ValueError for a module that has parameters and no such rule: its
    start would depend on whatever was drawn before it was built.
    """
    with torch.random.fork_rng(devices=[]):
        for path, module in model.named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                torch.default_generator.manual_seed(derive(*root, "init", path))
                reset()
                if released:
                    _released_start(module)
            elif next(module.parameters(recurse=False), None) is not None:
                raise ValueError(f"{type(module).__name__} at {path!r} has parameters and no method `reset_parameters`")


def _released_start(module: nn.Module) -> None:
    """Kaiming-normal kernels by fan-out, batch norms around one (methods §1.6). Linear layers keep PyTorch's start."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
