"""The TCMax loss: minus an in-batch estimate of the total correlation of features and label (TCMax paper, Eq. 14-16).

Notation. B rows, M modalities, C classes. T(k_1, ..., k_M; c) is the joint logit of class c when modality m is taken
from row k_m; a head is additive when T is a sum of unimodal logits u^m. P is the reference label law, uniform unless
said otherwise. All values are in nats:

    L = log mean_k sum_c P(c) exp T(k; c) - mean_i T(i, ..., i; y_i),

with k over all B^M tuples of rows (`exact`, Eq. 14), over a sample of distinct tuples (`sampled`, Eq. 15), or, for an
additive head, summed over rows one modality at a time (`decoupled`, Eq. 16, cost O(M B C)). The forms agree to
rounding. -L on a batch is neither a lower nor an upper bound on total correlation: docs/total-correlation.md.

Numerics. Normalisers are log-sum-exps with the maximum subtracted, in float32 or wider whatever autocast is set to.
Non-finite logits are neither masked nor refused: they give a non-finite loss, which a training loop must look at.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tcmax.models.axes import Generators, drawn, rows_of

JOINT = "joint"
_INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
Head = Callable[[dict[str, Tensor]], Tensor | Mapping[str, Tensor]]


class TCMaxLoss(nn.Module):
    """TCMax loss of a batch, in nats, constants included: a drop-in for cross-entropy on summed logits.

    >>> import torch
    >>> from tcmax import TCMaxLoss
    >>> audio = torch.tensor([[1.0, 0.0], [0.0, 0.5]], requires_grad=True)
    >>> video = torch.tensor([[0.5, -0.5], [0.0, 1.0]], requires_grad=True)
    >>> labels = torch.tensor([0, 1])
    >>> loss = TCMaxLoss()({"audio": audio, "video": video}, labels)
    >>> print(f"{loss.item():.4f} nats")
    -0.6533 nats
    >>> loss.backward()
    >>> prediction = (audio + video).argmax(dim=-1)

    negatives: how many distinct tuples of rows stand for all B^M of them (Eq. 15); None uses all.
    label_reference: "uniform", or "empirical" with `class_log_prior`, log P(c) of shape (C,). With the latter,
        classify by `prediction_logits`, which adds log P(c) back.
    chunk_size: tuples evaluated at once where tuples are enumerated; bounds memory, does not change the value.

    The in-batch value has a floor that depends on B and C (`floor`), so compare losses of equal batches only. B is the
    actual batch size: the constant of a short last batch differs.
    """

    class_log_prior: Tensor | None

    def __init__(
        self,
        *,
        negatives: int | None = None,
        label_reference: Literal["uniform", "empirical"] = "uniform",
        class_log_prior: Tensor | None = None,
        chunk_size: int = 4096,
    ) -> None:
        super().__init__()
        if negatives is not None and negatives < 1:
            raise ValueError(f"negatives is the number of sampled tuples, at least 1, not {negatives}")
        if chunk_size < 1:
            raise ValueError(f"chunk_size is at least 1, not {chunk_size}")
        if label_reference not in ("uniform", "empirical"):
            raise ValueError(f"label_reference is 'uniform' or 'empirical', not {label_reference!r}")
        if (label_reference == "empirical") != (class_log_prior is not None):
            raise ValueError("class_log_prior goes with label_reference='empirical', and only with it")
        if class_log_prior is not None and not abs(float(class_log_prior.logsumexp(0))) < 1e-3:
            raise ValueError("class_log_prior holds log-probabilities, whose exponentials sum to one")
        self.negatives = negatives
        self.chunk_size = chunk_size
        self.label_reference = label_reference
        self.register_buffer("class_log_prior", class_log_prior)

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        labels: Tensor,
        *,
        head: Head | None = None,
        generator: Generators | None = None,
    ) -> Tensor:
        """Loss of one batch, or of each leading index.

        inputs: without a head, additive logits by modality, each (..., B, C). With one, features by modality, each
            of the labels' shape and more, (..., B, *), and `head` maps such a dict with any number of rows n to joint
            logits (..., n, C) (or to a mapping that holds them under "joint"). A head must treat rows independently (no
            batch normalisation): it sees the B true rows, then every tuple.
        labels: integers in [0, C), (B,) or (..., B); features with leading axes need the latter. Their range is checked
            on CPU only; on a GPU that would wait for the device, and indexing fails there by itself.
        generator: source of the sampled tuples; needed with `negatives`, unused without. One generator draws the same
            tuples for every leading index, a sequence of them (one leading axis) tuples for each.
        Returns (...), a scalar for a plain batch. Raises ValueError for anything of another shape or kind.
        """
        if self.negatives is None and head is None:
            return decoupled(inputs, labels, self.class_log_prior)
        options: dict[str, Any] = {
            "head": head,
            "class_log_prior": self.class_log_prior,
            "chunk_size": self.chunk_size,
        }
        if self.negatives is None:
            return exact(inputs, labels, **options)
        if generator is None:
            raise ValueError("sampling negatives needs a torch.Generator: pass generator=")
        batch = _checked(inputs, labels, head)[1].shape[-1]
        tuples = drawn(partial(distinct_tuples, batch, len(inputs), self.negatives), generator)
        return sampled(inputs, labels, tuples, **options)

    def prediction_logits(self, joint: Tensor) -> Tensor:
        """Joint logits (..., C) whose softmax estimates P(c | all modalities).

        With a uniform label reference the joint logits are that already. With the reference P the optimal critic is
        log P(z, c) / (P(z^1)...P(z^M) P(c)), so log P(c) has to be added: Eq. 13 of the paper holds for uniform P only.
        """
        return joint if self.class_log_prior is None else joint + self.class_log_prior

    def extra_repr(self) -> str:
        return f"negatives={self.negatives}, label_reference={self.label_reference!r}"


def decoupled(logits: Mapping[str, Tensor], labels: Tensor, class_log_prior: Tensor | None = None) -> Tensor:
    """Eq. 16, for additive heads and any M: log sum_c P(c) prod_m mean_j exp u^m_{jc} - mean_i sum_m u^m_{i, y_i}.

    logits: modality -> (..., B, C). labels: (B,) or (..., B). class_log_prior: (C,), uniform when None.
    Returns (...). Time and memory O(M B C): one buffer of the size of the logits is kept for backward, which may be
    called more than once. Not twice differentiable (`exact` is). Raises ValueError as `TCMaxLoss` does.
    """
    logits, labels = _checked(logits, labels, None)
    first = next(iter(logits.values()))
    batch, n_classes = first.shape[-2:]
    # A uniform reference is one number: on small batches each operation saved shows.
    reference = -math.log(n_classes) if class_log_prior is None else _log_reference(class_log_prior, n_classes, first)
    try:
        return _Decoupled.apply(labels, reference - len(logits) * math.log(batch), *logits.values())
    except RuntimeError:
        _check_classes(labels, n_classes)  # on a processor, indexing has checked the range: only name what it found
        raise


class _Decoupled(torch.autograd.Function):
    """LSE_c [ r_c + sum_m LSE_j u^m_{jc} ] - mean_i sum_m u^m_{i, y_i}, with its gradient computed on the way.

    d/du^m_{jc} = p_c softmax_j(u^m_{.c})_j - [y_j = c] / B, where p is the softmax of the bracket over classes. Plain
    autograd gives the same to rounding, in about twice the time and memory when B is large.
    """

    @staticmethod
    def forward(ctx: Any, labels: Tensor, offset: Tensor | float, *logits: Tensor) -> Tensor:
        weights = torch.stack(logits)  # (M, ..., B, C): the logits, then their exponentials, then the gradient
        index = labels.unsqueeze(-1).expand(*weights.shape[:-1], 1)
        matched = weights.gather(-1, index)
        # A column that is -inf throughout (a class masked out everywhere) must not give inf - inf.
        top = weights.amax(-2).nan_to_num_(0.0, 0.0, 0.0)
        sums = weights.sub_(top.unsqueeze(-2)).exp_().sum(-2)
        columns = reduce(torch.add, top.add_(sums.log()).unbind()).add_(offset)
        share = columns.softmax(-1)
        log_z = columns.logsumexp(-1)
        # sums >= 1 unless the column is masked, where the share is 0.
        weights.mul_((share / sums.clamp_(min=1)).unsqueeze(-2))
        batch = labels.shape[-1]
        weights.scatter_(-1, index, -1 / batch, reduce="add")
        ctx.save_for_backward(weights)
        return log_z.sub_(reduce(torch.add, matched.sum((-2, -1)).unbind()), alpha=1 / batch)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # with create_graph: a constant gradient would silently drop second derivatives
            raise RuntimeError("the decoupled TCMax loss is differentiable once: use total_correlation.exact instead")
        (weights,) = ctx.saved_tensors
        scale = grad[..., None, None]
        # A tensor each, not views of one: autograd takes such a gradient over without a copy.
        return None, None, *(each * scale for each in weights.unbind())


def exact(
    inputs: Mapping[str, Tensor],
    labels: Tensor,
    *,
    head: Head | None = None,
    class_log_prior: Tensor | None = None,
    chunk_size: int = 4096,
) -> Tensor:
    """Eq. 14 by enumeration of all B^M tuples, for any head and any M; O(B^M C) time.

    Arguments as in `TCMaxLoss.forward`. Tuples are evaluated `chunk_size` at a time and again in backward, so memory is
    that of one chunk.
    """
    inputs, labels = _checked(inputs, labels, head)
    batch, n_modalities = labels.shape[-1], len(inputs)

    def rows(start: int, stop: int) -> Tensor:
        return _unravel(torch.arange(start, stop, device=labels.device), batch, n_modalities)

    log_z, matched = _streamed(inputs, labels, head, class_log_prior, rows, batch**n_modalities, chunk_size)
    return log_z - n_modalities * math.log(batch) - matched


def sampled(
    inputs: Mapping[str, Tensor],
    labels: Tensor,
    tuples: Tensor,
    *,
    head: Head | None = None,
    class_log_prior: Tensor | None = None,
    chunk_size: int = 4096,
) -> Tensor:
    """Eq. 15: the normaliser is the mean over the given tuples of rows, (S, M) or (..., S, M) integers in [0, B).

    Other arguments as in `TCMaxLoss.forward`. With all B^M tuples this is `exact`. With fewer, log of a mean is biased
    downward, which flatters -L, and the floors of `floor` do not hold.
    """
    inputs, labels = _checked(inputs, labels, head)
    if tuples.ndim < 2 or tuples.shape[-2] == 0 or tuples.shape[-1] != len(inputs):
        raise ValueError(f"tuples are rows of {len(inputs)} indices, one per modality, not {tuple(tuples.shape)}")
    tuples = tuples.to(labels.device)

    def rows(start: int, stop: int) -> Tensor:
        return tuples[..., start:stop, :]

    log_z, matched = _streamed(inputs, labels, head, class_log_prior, rows, tuples.shape[-2], chunk_size)
    return log_z - math.log(tuples.shape[-2]) - matched


def _streamed(
    inputs: dict[str, Tensor],
    labels: Tensor,
    head: Head | None,
    class_log_prior: Tensor | None,
    rows: Callable[[int, int], Tensor],
    count: int,
    chunk_size: int,
) -> tuple[Tensor, Tensor]:
    """Log of the sum over tuples rows(0, count) and classes of P(c) exp T, and the mean matched logit; each (...)."""
    joint = joint_logits(inputs, head)
    if joint.ndim < 2 or joint.shape[:-1] != labels.shape:
        raise ValueError(f"the head maps {labels.shape[-1]} rows to logits of shape {tuple(joint.shape)}, not (n, C)")
    _check_classes(labels, joint.shape[-1])
    matched = joint.gather(-1, labels.unsqueeze(-1)).squeeze(-1).mean(-1)
    log_reference = _log_reference(class_log_prior, joint.shape[-1], joint)

    def log_sum(start: int) -> Tensor:
        index = rows(start, min(start + chunk_size, count))
        return (joint_on(inputs, index, head, labels.ndim - 1) + log_reference).logsumexp((-2, -1))

    if count <= chunk_size:
        return log_sum(0), matched
    from torch.utils.checkpoint import checkpoint  # takes a second to import, and only this path needs it

    parts = [checkpoint(log_sum, start, use_reentrant=False) for start in range(0, count, chunk_size)]
    return torch.stack(parts).logsumexp(0), matched


def joint_logits(inputs: dict[str, Tensor], head: Head | None = None) -> Tensor:
    """Joint logits (..., B, C): the head's, or the sum of additive logits; in float32 or wider."""
    if head is None:
        first, *rest = inputs.values()
        for logits in rest:
            first = first + logits
        return _widened(first)
    joint = head(inputs)
    return _widened(joint[JOINT] if isinstance(joint, Mapping) else joint)


def joint_on(inputs: Mapping[str, Tensor], tuples: Tensor, head: Head | None = None, axis: int = 0) -> Tensor:
    """Joint logits (..., S, C) of tuples of rows, indices (S, M) or (..., S, M); inputs as `TCMaxLoss.forward` takes
    them, with their rows on this axis where there is a head."""
    columns = zip(inputs.items(), tuples.unbind(-1), strict=True)
    return joint_logits({name: rows_of(x, chosen, -2 if head is None else axis) for (name, x), chosen in columns}, head)


def distinct_tuples(batch: int, n_modalities: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` distinct tuples of row indices, every set of that size equally likely: (count, n_modalities) int64.

    The pool is all batch**n_modalities tuples, matched rows included (Eq. 15). Memory O(count): the pool is never
    listed unless more than half of it is asked for. Raises ValueError when the pool is smaller than `count`.
    """
    pool = batch**n_modalities
    if count < 1:
        raise ValueError(f"at least one tuple has to be drawn, not {count}")
    if count > pool:
        raise ValueError(
            f"{count} distinct tuples were asked for, but {batch} rows of {n_modalities} modalities have only {pool}"
        )
    if pool > torch.iinfo(torch.int64).max:
        raise ValueError(f"{batch} rows of {n_modalities} modalities have too many tuples to number: use fewer rows")
    device = generator.device
    if 2 * count > pool:
        chosen = torch.randperm(pool, generator=generator, device=device)[:count]
    else:
        chosen = torch.empty(0, dtype=torch.int64, device=device)
        while len(chosen) < count:  # redraws only what collided, so the set stays uniform and never overshoots
            draws = torch.randint(pool, (count - len(chosen),), generator=generator, device=device)
            chosen = torch.cat([chosen, draws]).unique()
    return _unravel(chosen, batch, n_modalities)


def _unravel(flat: Tensor, batch: int, n_modalities: int) -> Tensor:
    steps = [batch ** (n_modalities - 1 - m) for m in range(n_modalities)]
    return torch.stack([flat // step % batch for step in steps], dim=-1)


@dataclass(frozen=True)
class Decomposition:
    """L = cross_entropy + alignment + label_term, each (...) and in nats.

    cross_entropy: of `TCMaxLoss.prediction_logits`. alignment: minus an estimate of the total correlation of the
    features alone. label_term: mean_i log P(y_i), -log C for a uniform reference.
    """

    cross_entropy: Tensor
    alignment: Tensor
    label_term: Tensor


def decompose(loss: Tensor, joint: Tensor, labels: Tensor, class_log_prior: Tensor | None = None) -> Decomposition:
    """Split a TCMax loss into what classifies and what aligns modalities.

    loss: (...), any of the three forms. joint: (..., B, C), T(i, ..., i; c). With s(k) = LSE_c [T(k; c) + log P(c)],
    the alignment part is log mean_k exp s(k) - mean_i s(i, ..., i). For an additive head it cannot fall as far as the
    features' true total correlation allows (D3 of the method specification), so it is the part to watch.
    """
    joint = _widened(joint)
    index = labels.expand(joint.shape[:-1]).unsqueeze(-1)
    if class_log_prior is None:
        label_term, critic = joint.new_full(joint.shape[:-2], -math.log(joint.shape[-1])), joint
    else:
        log_reference = _log_reference(class_log_prior, joint.shape[-1], joint)
        label_term, critic = log_reference[index.squeeze(-1)].mean(-1), joint + log_reference
    log_posterior = critic.log_softmax(-1)
    cross_entropy = -log_posterior.gather(-1, index).squeeze(-1).mean(-1)
    return Decomposition(cross_entropy, loss - cross_entropy - label_term, label_term)


def floor(
    labels: Tensor, n_classes: int, n_modalities: int, *, additive: bool, class_log_prior: Tensor | None = None
) -> Tensor:
    """Smallest value the exact or decoupled loss can take on a batch with these labels, in nats, float64.

    Any head: -(M - 1) log B + mean_i log P(y_i), reached by telling every row apart. Additive heads:
    -(M - 1) H + mean_i log P(y_i), H the entropy of the batch's label histogram: they can only tell classes apart. With
    a uniform reference the last term is -log C. labels: (B,). Minus this is the cap of the in-batch estimate.
    """
    _check_classes(labels, n_classes)
    share = torch.bincount(labels, minlength=n_classes).double() / len(labels)
    reference = _log_reference(class_log_prior, n_classes, share)
    information = torch.special.entr(share).sum() if additive else share.new_tensor(math.log(len(labels)))
    return reference[labels].mean() - (n_modalities - 1) * information


def cap(n_rows: int, n_modalities: int, n_classes: int = 1) -> float:
    """(M - 1) log n + log C: no in-batch estimate from n rows can exceed it; n_classes is 1 without a label."""
    return (n_modalities - 1) * math.log(n_rows) + math.log(n_classes)


def _widened(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _log_reference(class_log_prior: Tensor | None, n_classes: int, like: Tensor) -> Tensor:
    if class_log_prior is None:
        return like.new_full((n_classes,), -math.log(n_classes))
    if class_log_prior.shape != (n_classes,):
        raise ValueError(f"class_log_prior has shape {tuple(class_log_prior.shape)}, not ({n_classes},)")
    return class_log_prior.to(like)


def _checked(inputs: Mapping[str, Tensor], labels: Tensor, head: Head | None) -> tuple[dict[str, Tensor], Tensor]:
    """Inputs, with logits in float32 or wider, and labels expanded to (..., B)."""
    what = "logits" if head is None else "features"
    if not isinstance(inputs, Mapping) or not inputs:
        raise ValueError(f"{what} are a non-empty dict from modality name to tensor")
    first: Tensor | None = None
    rows = torch.Size()
    n_axes = max(labels.ndim, 1) if isinstance(labels, Tensor) else 1
    for name, value in inputs.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{what} map modality names to tensors, not {name!r} to {type(value).__name__}")
        if name == JOINT:
            raise ValueError(f"{what} hold the reserved key {JOINT!r}: pass the modalities only")
        if head is None and not value.is_floating_point():
            raise ValueError(f"{what}[{name!r}] are {value.dtype}, not floating point")
        shape = value.shape
        if len(shape) < (2 if head is None else 1):
            raise ValueError(f"{what}[{name!r}] have shape {tuple(shape)}, not (..., B, C)")
        if first is None:
            first, rows = value, shape[:-1] if head is None else shape[:n_axes]
        elif (shape != first.shape) if head is None else (shape[:n_axes] != rows):
            shapes = f"{name!r} {tuple(shape)}, {next(iter(inputs))!r} {tuple(first.shape)}"
            raise ValueError(f"{what} must agree in {'shape' if head is None else 'rows'}: {shapes}")
    if not isinstance(labels, Tensor) or labels.dtype not in _INTEGERS:
        raise ValueError("labels are an integer tensor")
    if labels.shape != rows and labels.shape != rows[-1:]:
        raise ValueError(f"labels have shape {tuple(labels.shape)}, but {what} have {rows[-1]} rows")
    if first is None or first.numel() == 0:
        raise ValueError(f"{what}[{next(iter(inputs))!r}] are empty")
    if head is None:
        inputs = {name: _widened(value) for name, value in inputs.items()}
    return dict(inputs), labels.long().expand(rows)


def _check_classes(labels: Tensor, n_classes: int) -> None:
    if labels.device.type != "cpu":
        return  # reading a value would wait for the device on every step
    low, high = (bound.item() for bound in labels.aminmax())
    if low < 0 or high >= n_classes:
        raise ValueError(f"labels span {low} to {high}, but there are {n_classes} classes: 0 to {n_classes - 1}")
