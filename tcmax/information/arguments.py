"""What the TCMax loss accepts, and the sentences with which it refuses the rest: each names what was passed."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tcmax.models.axes import Generators

JOINT = "joint"
Head = Callable[..., Tensor | Mapping[str, Tensor]]
Inputs = Mapping[str, Tensor] | tuple[Tensor, ...] | list[Tensor]
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
_REFUSED_REDUCTIONS = {
    "sum": "it is the logarithm of a mean over recombinations of the whole batch, so that a sum of item losses "
    "does not exist; multiply the value by the number of rows for the scale of a sum",
    "none": "its normaliser belongs to the whole batch, so that an item has no loss of its own; leading axes give "
    "one loss for each batch, and weight= counts classes differently",
}


def shown(value: object) -> str:
    """A value in an error message: itself where it is short, else its kind and size."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"{'an' if kind[0] == 'i' else 'a'} {kind} tensor of shape {tuple(value.shape)}"
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, Mapping | list | tuple) and not value:
        return f"an empty {type(value).__name__}"
    return f"a {type(value).__name__}"


def whole_number(name: str, value: Any, what: str) -> int:
    """The value as an int; ValueError for anything that is not an integer, booleans included."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is {what}, an integer, not {shown(value)}") from None


def count(name: str, value: Any, what: str) -> int:
    """The value as an int of at least 1; ValueError otherwise."""
    number = whole_number(name, value, what)
    if number < 1:
        raise ValueError(f"{name} is {what}, at least 1, not {number}")
    return number


def check_reduction(reduction: object) -> None:
    """Only "mean" has a meaning: the value belongs to the batch."""
    if isinstance(reduction, str) and reduction in _REFUSED_REDUCTIONS:
        raise ValueError(f"the TCMax loss has no reduction={reduction!r}: {_REFUSED_REDUCTIONS[reduction]}")
    if reduction != "mean":
        raise ValueError(f"reduction is 'mean', not {shown(reduction)}")


def check_class_table(name: str, table: object) -> None:
    """One floating-point number per class, as a tensor."""
    if not isinstance(table, Tensor) or not table.is_floating_point() or table.ndim != 1:
        raise ValueError(f"{name} is a floating-point tensor of shape (C,), not {shown(table)}")


def check_class_log_prior(class_log_prior: Tensor) -> None:
    """A table of log-probabilities; a compiled graph does not look at values."""
    check_class_table("class_log_prior", class_log_prior)
    if torch.compiler.is_compiling():
        return
    if not abs(float(class_log_prior.detach().logsumexp(0))) < 1e-3:
        raise ValueError("class_log_prior holds log-probabilities, whose exponentials sum to one")


def check_weight(weight: Tensor) -> None:
    """A table of non-negative, finite weights, not all zero; a compiled graph does not look at values."""
    check_class_table("weight", weight)
    if torch.compiler.is_compiling():
        return
    low, total = float(weight.detach().min()), float(weight.detach().sum())
    if not (low >= 0 and 0 < total < float("inf")):
        raise ValueError(f"weight holds finite weights of classes, none negative and not all zero, not {weight}")


def check_generator(generator: Generators | None) -> Generators:
    """A torch.Generator, or a sequence of them."""
    if generator is None:
        raise ValueError("sampling negatives needs a torch.Generator: pass generator=")
    several = generator if isinstance(generator, list | tuple) else [generator]
    if not several or not all(isinstance(each, torch.Generator) for each in several):
        raise ValueError(f"generator is a torch.Generator, or one for each leading index, not {shown(generator)}")
    return generator


def readable(tensor: Tensor) -> bool:
    """Whether looking at values costs little: on a GPU it waits for the device, in compilation it breaks the graph."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def check_classes(labels: Tensor, n_classes: int, ignore_index: int | None = None) -> None:
    """Class indices lie in [0, C), and every batch keeps a row; seen on CPU only, outside of compilation and vmap."""
    if not readable(labels):
        return
    ignored = None if ignore_index is None else labels == ignore_index
    try:
        low, high = (bound.item() for bound in (labels if ignored is None else labels.where(~ignored, 0)).aminmax())
        empty = ignored is not None and bool(ignored.all(-1).any())
    except RuntimeError:
        return  # inside vmap a tensor has no single value; indexing on CPU refuses what is out of range
    if low < 0 or high >= n_classes:
        hint = f"; rows without a label are left out by ignore_index={low}" if low < 0 and ignore_index is None else ""
        raise ValueError(f"labels span {low} to {high}, but there are {n_classes} classes: 0 to {n_classes - 1}{hint}")
    if empty:
        raise ValueError(f"every label of a batch is ignore_index={ignore_index}: no row is left")


def check_probabilities(labels: Tensor, n_classes: int) -> None:
    """Soft labels hold a class law in every row; values are seen on CPU only, outside of compilation and vmap."""
    if labels.shape[-1] != n_classes:
        raise ValueError(f"soft labels have shape {tuple(labels.shape)}, but there are {n_classes} classes")
    if not readable(labels):
        return
    values = labels.detach()
    try:
        low, off = values.min().item(), (values.sum(-1) - 1).abs().max().item()
    except RuntimeError:
        return  # inside vmap
    if not (low >= 0 and off < 1e-3):
        raise ValueError(
            "soft labels are probabilities of classes, none negative and with sum one in every row: "
            f"the least is {low:.4g}, and a sum is off by {off:.4g}"
        )


def checked(inputs: Inputs, labels: Tensor, head: Head | None) -> tuple[dict[str, Tensor], Tensor, Head | None]:
    """Inputs by name, logits among them in float32 or wider; labels expanded to (..., B), soft ones to (..., B, C); and
    the head as a function of inputs by name. A tuple of tensors is named by position, and its head is given tuples."""
    what = "logits" if head is None else "features"
    if head is not None and not callable(head):
        raise ValueError(f"head is a function of features, not {shown(head)}")
    if isinstance(inputs, tuple | list) and inputs:
        inputs = {str(position): value for position, value in enumerate(inputs)}
        head = None if head is None else _positional(head)
    if not isinstance(inputs, Mapping) or not inputs:
        raise ValueError(
            f"{what} are a non-empty dict from modality name to tensor, or a tuple of tensors, not {shown(inputs)}"
        )
    soft = _is_soft(labels)
    n_axes = max(labels.ndim - soft, 1)
    rows = _rows(inputs, what, None if head is None else n_axes)
    given = labels.shape[:-1] if soft else labels.shape
    if given not in (rows, rows[-1:]):
        raise ValueError(f"labels have shape {tuple(labels.shape)}, but {what} have {rows[-1]} rows")
    first_name, first = next(iter(inputs.items()))
    if first.numel() == 0:
        raise ValueError(f"{what}[{first_name!r}] are empty")
    if first.device != labels.device:
        raise ValueError(f"labels are on {labels.device}, but {what}[{first_name!r}] on {first.device}")
    if head is None:
        inputs = {name: widened(value) for name, value in inputs.items()}
    if soft:
        return dict(inputs), widened(labels).expand(*rows, labels.shape[-1]), head
    return dict(inputs), labels.long().expand(rows), head


def _rows(inputs: Mapping[str, Tensor], what: str, n_axes: int | None) -> torch.Size:
    """Axes that all modalities share, the last of them rows: the first n_axes of features, all but one of logits."""
    additive = n_axes is None
    kept = slice(-1) if additive else slice(n_axes)
    first: Tensor | None = None
    for name, value in inputs.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{what} map modality names to tensors, not {name!r} to {shown(value)}")
        if name == JOINT:
            raise ValueError(f"{what} hold the reserved key {JOINT!r}: pass the modalities only")
        if additive and not value.is_floating_point():
            raise ValueError(f"{what}[{name!r}] are {value.dtype}, not floating point")
        shape = value.shape
        if len(shape) < (2 if additive else 1):
            raise ValueError(f"{what}[{name!r}] have shape {tuple(shape)}, not (..., B, C)")
        if first is None:
            first = value
        elif (shape != first.shape) if additive else (shape[kept] != first.shape[kept]):
            shapes = f"{name!r} {tuple(shape)}, {next(iter(inputs))!r} {tuple(first.shape)}"
            raise ValueError(f"{what} must agree in {'shape' if additive else 'rows'}: {shapes}")
    return torch.Size() if first is None else first.shape[kept]


def _is_soft(labels: object) -> bool:
    """Whether labels are probabilities; ValueError where they are neither those nor class indices."""
    if isinstance(labels, Tensor):
        if labels.dtype in _INTEGERS:
            return False
        if labels.is_floating_point() and labels.ndim > 1:
            return True
    raise ValueError(
        f"labels are an integer tensor of class indices, or a floating-point one (B, C) of class probabilities, "
        f"not {shown(labels)}"
    )


def _positional(head: Head) -> Head:
    def by_position(rows: Mapping[str, Tensor]) -> Tensor | Mapping[str, Tensor]:
        return head(tuple(rows.values()))

    return by_position


def returned_logits(joint: Any) -> Tensor:
    """Joint logits in what a head returned; ValueError where there are none."""
    if isinstance(joint, Mapping):
        if JOINT not in joint:
            raise ValueError(f"the head returned a mapping with {list(joint)}, but joint logits go under {JOINT!r}")
        joint = joint[JOINT]
    if not isinstance(joint, Tensor) or not joint.is_floating_point():
        raise ValueError(
            f"the head returned {shown(joint)}: it returns joint logits, a floating-point tensor (n, C), or a mapping "
            f"that holds them under {JOINT!r}"
        )
    return joint


def widened(value: Tensor) -> Tensor:
    """In float32 or wider."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
