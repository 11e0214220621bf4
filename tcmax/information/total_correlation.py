"""The TCMax loss: minus an in-batch estimate of the total correlation of features and label (TCMax paper, Eq. 14-16).

Notation. B rows, M modalities, C classes. T(k_1, ..., k_M; c) is the joint logit of class c when modality m is taken
from row k_m; a head is additive when T is a sum of unimodal logits u^m. P is the reference label law, uniform unless
said otherwise. All values are in nats:

    L = log mean_k sum_c P(c) exp T(k; c) - mean_i T(i, ..., i; y_i),

with k over all B^M tuples of rows (`exact`, Eq. 14), over a sample of distinct tuples (`sampled`, Eq. 15), or, for an
additive head, summed over rows one modality at a time (`decoupled`, Eq. 16, cost O(M B C)). The forms agree to
rounding. With weights, ignored rows or soft labels the batch stands for a law t of rows and labels, of which the above
has mass 1/B at each (i, y_i): rows are recombined by their mass, and the second term is the mean under t.

-L on a batch is neither a lower nor an upper bound on total correlation: docs/total-correlation.md.

Numerics. Normalisers are log-sum-exps with the maximum subtracted, in float32 or wider whatever autocast is set to.
Non-finite logits are neither masked nor refused: they give a non-finite loss, which a training loop must look at.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tcmax.information.arguments import (
    Head,
    Inputs,
    check_class_log_prior,
    check_class_table,
    check_classes,
    check_generator,
    check_probabilities,
    check_reduction,
    check_weight,
    checked,
    count,
    readable,
    returned_logits,
    shown,
    whole_number,
    widened,
)
from tcmax.models.axes import Generators, drawn, rows_of

_NEGATIVES = "the number of sampled tuples"
_CHUNK = "the number of tuples evaluated at once"


class TCMaxLoss(nn.Module):
    """TCMax loss of a batch, in nats, constants included: a drop-in for cross-entropy on summed logits.

    The in-batch value has a floor that depends on B and C (`floor`), so compare losses of equal batches only. B is the
    actual batch size: the constant of a short last batch differs.

    Parameters
    ----------
    negatives : int, optional
        How many distinct tuples of rows stand for all B^M of them (Eq. 15); None uses all.
    label_reference : {"uniform", "empirical"}
        The reference law P of the label; "empirical" goes with `class_log_prior`, and classifies by
        `prediction_logits`, which adds log P(c) back.
    class_log_prior : Tensor, shape (C,), optional
        log P(c) in nats.
    weight : Tensor, shape (C,), optional
        How much a row of each class counts, in the matched mean and in the recombinations: weight 2 is the batch with
        the rows of that class twice. Only ratios matter. It does not change P.
    ignore_index : int, optional
        Label of rows that are left out, of the matched mean and of the recombinations: the value is that of the batch
        without them. A head sees such rows as zeros. None refuses labels outside of [0, C).
    reduction : {"mean"}
        Other reductions are refused: the normaliser belongs to the batch, so items have no losses to sum.
    gather : bool or torch.distributed.ProcessGroup
        Rows of all ranks of the group (True: the default one) make one batch: negatives cross ranks. See Notes.
    chunk_size : int
        Tuples evaluated at once where tuples are enumerated; bounds memory, does not change the value.

    Raises
    ------
    ValueError
        An option is of another kind or out of range.

    See Also
    --------
    total_correlation_loss : the same as a function.
    decoupled, exact, sampled : the three forms of it.

    Notes
    -----
    **Transforms.** `torch.compile`, with or without `fullgraph`, `torch.func.grad`, `jacrev`, `vmap`, `jvp`, `jacfwd`
    and `hessian` work. A `torch.Generator` cannot be part of a graph: with `negatives` and `fullgraph=True` draw tuples
    outside by `distinct_tuples` and call `sampled`; inside `vmap` too.

    **Several processes.** Under DistributedDataParallel each rank has its own B rows, and by default its own loss over
    them. With `gather` every rank computes the loss of all rows (the number may differ between ranks), so the value
    is the same on all, and gradients that DDP averages over ranks are those of one process with the whole batch. The
    head sees the rows of all ranks. Every rank has to call the loss and its backward. With `negatives`, equal
    generators draw what one process would; different ones average over draws. One small collective per call makes the
    host wait.

    References
    ----------
    TCMax paper, Eq. 14-16; docs/total-correlation.md for what the value means.

    Examples
    --------
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
    """

    class_log_prior: Tensor | None
    weight: Tensor | None

    def __init__(
        self,
        *,
        negatives: int | None = None,
        label_reference: Literal["uniform", "empirical"] = "uniform",
        class_log_prior: Tensor | None = None,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        reduction: Literal["mean"] = "mean",
        gather: Any = False,
        chunk_size: int = 4096,
    ) -> None:
        super().__init__()
        if label_reference not in ("uniform", "empirical"):
            raise ValueError(f"label_reference is 'uniform' or 'empirical', not {label_reference!r}")
        if (label_reference == "empirical") != (class_log_prior is not None):
            raise ValueError("class_log_prior goes with label_reference='empirical', and only with it")
        check_reduction(reduction)
        if class_log_prior is not None:
            check_class_log_prior(class_log_prior)
        if weight is not None:
            check_weight(weight)
        self.negatives = None if negatives is None else count("negatives", negatives, _NEGATIVES)
        self.chunk_size = count("chunk_size", chunk_size, _CHUNK)
        self.ignore_index = None if ignore_index is None else whole_number("ignore_index", ignore_index, "a label")
        self.label_reference = label_reference
        self.gather = gather
        self.register_buffer("class_log_prior", class_log_prior)
        self.register_buffer("weight", weight)

    def forward(
        self,
        inputs: Inputs,
        labels: Tensor,
        *,
        head: Head | None = None,
        generator: Generators | None = None,
    ) -> Tensor:
        """Loss of one batch, or of each leading index.

        Parameters
        ----------
        inputs : dict of str to Tensor, or tuple of Tensor
            Without a head, additive logits by modality, each (..., B, C). With one, features by modality, each of the
            labels' shape and more, (..., B, *).
        labels : Tensor, shape (B,) or (..., B); soft (B, C) or (..., B, C)
            Integers in [0, C), or class probabilities, whose mean over rows and classes then replaces that over matched
            rows. Features with leading axes need labels with the same. Values are checked on CPU only; on a GPU that
            would wait for the device, and indexing fails there by itself.
        head : callable, optional
            Maps inputs of the kind given (dict or tuple) with any number of rows n to joint logits (..., n, C), or to
            a mapping that holds them under "joint". It must treat rows independently (no batch normalisation): it sees
            the B true rows, then every tuple.
        generator : torch.Generator, or a sequence of them, optional
            Source of the sampled tuples; needed with `negatives`, unused without. One generator draws the same tuples
            for every leading index, a sequence of them (one leading axis) tuples for each.

        Returns
        -------
        Tensor, shape (...)
            In nats; a scalar for a plain batch.

        Raises
        ------
        ValueError
            For anything of another shape or kind; the message names what was passed.
        """
        return _loss(
            inputs,
            labels,
            head,
            generator,
            self.negatives,
            self.chunk_size,
            self.gather,
            class_log_prior=self.class_log_prior,
            weight=self.weight,
            ignore_index=self.ignore_index,
        )

    def prediction_logits(self, joint: Tensor) -> Tensor:
        """Joint logits (..., C) whose softmax estimates P(c | all modalities).

        With a uniform label reference the joint logits are that already. With the reference P the optimal critic is
        log P(z, c) / (P(z^1)...P(z^M) P(c)), so log P(c) has to be added: Eq. 13 of the paper holds for uniform P only.

        Parameters
        ----------
        joint : Tensor, shape (..., C)

        Returns
        -------
        Tensor, shape (..., C)
        """
        return joint if self.class_log_prior is None else joint + self.class_log_prior

    def extra_repr(self) -> str:
        parts = [f"negatives={self.negatives}", f"label_reference={self.label_reference!r}"]
        if self.ignore_index is not None:
            parts.append(f"ignore_index={self.ignore_index}")
        return ", ".join(parts if self.gather is False else [*parts, "gather=True"])


def total_correlation_loss(
    inputs: Inputs,
    labels: Tensor,
    *,
    head: Head | None = None,
    generator: Generators | None = None,
    negatives: int | None = None,
    class_log_prior: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    reduction: Literal["mean"] = "mean",
    gather: Any = False,
    chunk_size: int = 4096,
) -> Tensor:
    """TCMax loss of a batch, in nats: `TCMaxLoss` as a function.

    Parameters
    ----------
    inputs, labels, head, generator
        As `TCMaxLoss.forward` takes them.
    negatives, weight, ignore_index, reduction, gather, chunk_size
        As `TCMaxLoss` takes them.
    class_log_prior : Tensor, shape (C,), optional
        log P(c) of the reference law of the label, in nats; uniform when None.

    Returns
    -------
    Tensor, shape (...)
        In nats; a scalar for a plain batch.

    Raises
    ------
    ValueError
        For anything of another shape or kind; the message names what was passed.

    References
    ----------
    TCMax paper, Eq. 14-16.

    Examples
    --------
    >>> import torch
    >>> from tcmax import total_correlation_loss
    >>> audio, video = torch.zeros(4, 3), torch.eye(4, 3)
    >>> print(f"{total_correlation_loss((audio, video), torch.tensor([0, 1, 2, -100]), ignore_index=-100):.4f} nats")
    -0.5472 nats
    """
    check_reduction(reduction)
    for name, table, check in (
        ("class_log_prior", class_log_prior, check_class_log_prior),
        ("weight", weight, check_weight),
    ):
        if table is not None and (not isinstance(table, Tensor) or readable(table)):
            check(table)
        elif table is not None:
            check_class_table(name, table)
    return _loss(
        inputs,
        labels,
        head,
        generator,
        None if negatives is None else count("negatives", negatives, _NEGATIVES),
        count("chunk_size", chunk_size, _CHUNK),
        gather,
        class_log_prior=class_log_prior,
        weight=weight,
        ignore_index=None if ignore_index is None else whole_number("ignore_index", ignore_index, "a label"),
    )


def _loss(
    inputs: Inputs,
    labels: Tensor,
    head: Head | None,
    generator: Generators | None,
    negatives: int | None,
    chunk_size: int,
    gather: Any,
    **tables: Any,
) -> Tensor:
    """The form of the loss that options ask for. tables: class_log_prior, weight, ignore_index."""
    if gather is not False:
        inputs, labels = _gathered(inputs, labels, head, gather)
    if negatives is None and head is None:
        return decoupled(inputs, labels, **tables)
    if negatives is None:
        return exact(inputs, labels, head=head, chunk_size=chunk_size, **tables)
    generators = check_generator(generator)
    if torch.compiler.is_compiling():
        torch._dynamo.graph_break(
            msg="a torch.Generator cannot be part of a graph: draw tuples outside with "
            "tcmax.information.total_correlation.distinct_tuples and call total_correlation.sampled"
        )
    named, expanded, _ = checked(inputs, labels, head)
    batch = expanded.shape[-1 - expanded.is_floating_point()]
    tuples = drawn(partial(distinct_tuples, batch, len(named), negatives), generators)
    return sampled(inputs, labels, tuples, head=head, chunk_size=chunk_size, **tables)


def _gathered(inputs: Inputs, labels: Tensor, head: Head | None, gather: Any) -> tuple[Inputs, Tensor]:
    """Inputs of the kind given and labels, with the rows of all ranks."""
    from tcmax.information.gather import (
        all_rows,
        process_group,
        rows_per_rank,
    )  # torch.distributed takes time to import

    group = process_group(gather)
    named, expanded, _ = checked(inputs, labels, head)
    axis = -1 - expanded.is_floating_point()
    sizes = rows_per_rank(expanded.shape[axis], labels.device, group)
    row_axis = expanded.ndim + axis
    rows = {name: all_rows(value, row_axis, sizes, group) for name, value in named.items()}
    everyone = all_rows(expanded, axis, sizes, group)
    return (rows if isinstance(inputs, Mapping) else tuple(rows.values())), everyone


def decoupled(
    logits: Inputs,
    labels: Tensor,
    class_log_prior: Tensor | None = None,
    *,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """Eq. 16, for additive heads and any M: log sum_c P(c) prod_m mean_j exp u^m_{jc} - mean_i sum_m u^m_{i, y_i}.

    Parameters
    ----------
    logits : dict of str to Tensor, or tuple of Tensor
        Logits of each modality, (..., B, C).
    labels : Tensor, shape (B,) or (..., B); soft (B, C) or (..., B, C)
    class_log_prior : Tensor, shape (C,), optional
        log P(c); uniform when None.
    weight, ignore_index
        As in `TCMaxLoss`.

    Returns
    -------
    Tensor, shape (...)
        In nats.

    Raises
    ------
    ValueError
        As `TCMaxLoss.forward`.

    Notes
    -----
    Time and memory O(M B C): with integer labels and no weights one buffer of the size of the logits, their gradient,
    is computed on the way and kept beside them for backward, which may be called more than once. Derivatives of higher
    order, forward-mode ones, and the other options are left to plain autograd, in about twice the time.
    """
    named, labels, _ = checked(logits, labels, None)
    values = list(named.values())
    first = values[0]
    batch, n_classes = first.shape[-2:]
    if weight is not None or ignore_index is not None or labels.is_floating_point():
        reference = _log_reference(class_log_prior, n_classes, first)
        cells = _cells(labels, n_classes, weight, ignore_index, first)
        return _additive(list(_without(ignore_index, named, labels).values()), reference, cells, _log_mass(cells))
    # A uniform reference is one number: on small batches each operation saved shows.
    offset = -math.log(n_classes) if class_log_prior is None else _log_reference(class_log_prior, n_classes, first)
    offset = offset - len(values) * math.log(batch)
    if not torch.compiler.is_compiling():  # a compiler fuses plain operations itself
        try:
            loss: Tensor = _Decoupled.apply(labels, offset, *values)  # type: ignore[no-untyped-call]
            return loss
        except RuntimeError:
            # On a processor indexing has checked the range: only name what it found. What else fails is a transform
            # (torch.func, forward mode) that a Function with a gradient of its own cannot follow; plain operations can.
            check_classes(labels, n_classes)
    return _plain(labels, offset, *values)


def _plain(labels: Tensor, offset: Tensor | float, *logits: Tensor) -> Tensor:
    """What `_Decoupled` computes, by operations that can be transformed and differentiated any number of times."""
    return _additive(logits, offset, _cells(labels, logits[0].shape[-1], None, None, logits[0]), None)


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
        constant = not isinstance(offset, Tensor)
        ctx.offset = offset if constant else None
        ctx.save_for_backward(weights, labels, *(() if constant else (offset,)), *logits)
        # Not in place: tracers give a Function's result that was written in place a gradient of zero.
        return log_z.sub(reduce(torch.add, matched.sum((-2, -1)).unbind()), alpha=1 / batch)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, labels, *values = ctx.saved_tensors
        # The gradient at hand is a constant: whoever differentiates it, or asks for the reference's, needs the formula.
        if torch.is_grad_enabled() or ctx.needs_input_grad[1]:
            if ctx.offset is None:
                return None, *torch.func.vjp(partial(_plain, labels), *values)[1](grad)
            return None, None, *torch.func.vjp(partial(_plain, labels, ctx.offset), *values)[1](grad)
        scale = grad[..., None, None]
        # A tensor each, not views of one: autograd takes such a gradient over without a copy.
        return None, None, *(each * scale for each in weights.unbind())


def _additive(logits: Sequence[Tensor], reference: Tensor | float, cells: Tensor, log_mass: Tensor | None) -> Tensor:
    """Eq. 16 for any law of rows and labels: LSE_c [ r_c + sum_m LSE_j (u^m_{jc} + log q_j) ] - sum t_{ic} T_{ic}.

    cells: t, (..., B, C), the mass of each row and class, in all one. log_mass: log q, (..., B); None leaves it out.
    """
    if log_mass is None:
        columns = [_log_sum_exp(each, (-2,)) for each in logits]
    else:
        columns = [_log_sum_exp(each + log_mass.unsqueeze(-1), (-2,)) for each in logits]
    return (reduce(torch.add, columns) + reference).logsumexp(-1) - _matched(reduce(torch.add, logits), cells)


def _log_sum_exp(values: Tensor, axes: tuple[int, ...]) -> Tensor:
    """`logsumexp` over axes, but where all is -inf (a masked class, tuples without mass) derivatives are zero."""
    top = values.detach().amax(axes, keepdim=True).nan_to_num(0.0, 0.0, 0.0)
    sums = (values - top).exp().sum(axes, keepdim=True)
    empty = sums == 0
    return (top + sums.where(~empty, 1).log()).masked_fill(empty, -math.inf).squeeze(axes)


def _matched(joint: Tensor, cells: Tensor) -> Tensor:
    """Mean of the joint logits under the law of rows and classes; a logit of -inf that has no mass counts nothing."""
    return (joint.masked_fill((cells == 0) & joint.isinf(), 0) * cells).sum((-2, -1))


def _cells(labels: Tensor, n_classes: int, weight: Tensor | None, ignore_index: int | None, like: Tensor) -> Tensor:
    """The law of rows and labels that a batch stands for: masses (..., B, C) that sum to one, in the type of `like`."""
    if labels.is_floating_point():
        if ignore_index is not None:
            raise ValueError(
                f"ignore_index={ignore_index} goes with class indices: soft labels of a row have no index; "
                "drop the row before, or give its class weight=0"
            )
        check_probabilities(labels, n_classes)
        cells = labels.to(like.dtype)
    else:
        check_classes(labels, n_classes, ignore_index)
        kept = torch.ones_like(labels, dtype=torch.bool) if ignore_index is None else labels != ignore_index
        index = labels.where(kept, 0).unsqueeze(-1)
        cells = like.new_zeros(*labels.shape, n_classes).scatter(-1, index, kept.unsqueeze(-1).to(like.dtype))
    if weight is not None:
        check_class_table("weight", weight)
        if weight.shape != (n_classes,):
            raise ValueError(f"weight has shape {tuple(weight.shape)}, not ({n_classes},)")
        cells = cells * weight.to(like)
    return cells / cells.sum((-2, -1), keepdim=True)


def _log_mass(cells: Tensor) -> Tensor:
    """Log of each row's mass, (..., B); -inf, with a derivative of zero, for rows without any."""
    mass = cells.sum(-1)
    empty = mass == 0
    return mass.where(~empty, 1).log().masked_fill(empty, -math.inf)


def _without(ignore_index: int | None, inputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """Inputs with zeros in ignored rows, so that nothing in there, not even nan, reaches a result or a gradient."""
    if ignore_index is None or labels.is_floating_point():
        return inputs
    ignored = labels == ignore_index

    def kept(value: Tensor) -> Tensor:
        return value.masked_fill(ignored.reshape(ignored.shape + (1,) * (value.ndim - ignored.ndim)), 0)

    return {name: kept(value) for name, value in inputs.items()}


def exact(
    inputs: Inputs,
    labels: Tensor,
    *,
    head: Head | None = None,
    class_log_prior: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    chunk_size: int = 4096,
) -> Tensor:
    """Eq. 14 by enumeration of all B^M tuples, for any head and any M.

    Parameters
    ----------
    inputs, labels, head
        As in `TCMaxLoss.forward`.
    class_log_prior : Tensor, shape (C,), optional
        log P(c); uniform when None.
    weight, ignore_index, chunk_size
        As in `TCMaxLoss`.

    Returns
    -------
    Tensor, shape (...)
        In nats.

    Raises
    ------
    ValueError
        As `TCMaxLoss.forward`.

    Notes
    -----
    O(B^M C) time. Tuples are evaluated `chunk_size` at a time and again in backward, so memory is that of one chunk.
    """
    named, labels, head = checked(inputs, labels, head)
    return _streamed(named, labels, None, head, class_log_prior, weight, ignore_index, chunk_size)


def sampled(
    inputs: Inputs,
    labels: Tensor,
    tuples: Tensor,
    *,
    head: Head | None = None,
    class_log_prior: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int | None = None,
    chunk_size: int = 4096,
) -> Tensor:
    """Eq. 15: the normaliser is the mean over the given tuples of rows.

    Parameters
    ----------
    inputs, labels, head
        As in `TCMaxLoss.forward`.
    tuples : Tensor, shape (S, M) or (..., S, M)
        Integers in [0, B), such as `distinct_tuples` draws.
    class_log_prior : Tensor, shape (C,), optional
        log P(c); uniform when None.
    weight, ignore_index, chunk_size
        As in `TCMaxLoss`. A tuple counts as the product of its rows' weights says, relative to all tuples given: one
        with an ignored row counts nothing, and where all do the loss is nan.

    Returns
    -------
    Tensor, shape (...)
        In nats.

    Raises
    ------
    ValueError
        As `TCMaxLoss.forward`, and for tuples of another shape.

    Notes
    -----
    With all B^M tuples this is `exact`. With fewer, log of a mean is biased downward, which flatters -L, and the floors
    of `floor` do not hold.
    """
    named, labels, head = checked(inputs, labels, head)
    if not isinstance(tuples, Tensor):
        raise ValueError(f"tuples are an integer tensor (S, M) of rows, not {shown(tuples)}")
    if tuples.ndim < 2 or tuples.shape[-2] == 0 or tuples.shape[-1] != len(named):
        raise ValueError(f"tuples are rows of {len(named)} indices, one per modality, not {tuple(tuples.shape)}")
    tuples = tuples.to(labels.device)
    return _streamed(named, labels, tuples, head, class_log_prior, weight, ignore_index, chunk_size)


def _streamed(
    inputs: dict[str, Tensor],
    labels: Tensor,
    tuples: Tensor | None,
    head: Head | None,
    class_log_prior: Tensor | None,
    weight: Tensor | None,
    ignore_index: int | None,
    chunk_size: int,
) -> Tensor:
    """Log of the mean over tuples (None: all) and classes of P(c) exp T, minus the mean matched logit; (...)."""
    soft = labels.is_floating_point()
    inputs = _without(ignore_index, inputs, labels)
    joint = joint_logits(inputs, head)
    row_shape = labels.shape[:-1] if soft else labels.shape
    batch, n_modalities, n_classes = row_shape[-1], len(inputs), joint.shape[-1] if joint.ndim else 0
    if joint.ndim < 2 or joint.shape[:-1] != row_shape:
        raise ValueError(f"the head maps {batch} rows to logits of shape {tuple(joint.shape)}, not (n, C)")
    log_reference = _log_reference(class_log_prior, n_classes, joint)
    log_mass = None
    if weight is None and ignore_index is None and not soft:
        check_classes(labels, n_classes)
        if torch.compiler.is_compiling():  # a compiled gather takes -1 for the last class
            matched = _matched(joint, _cells(labels, n_classes, None, None, joint))
        else:
            matched = joint.gather(-1, labels.unsqueeze(-1)).squeeze(-1).mean(-1)
    else:
        cells = _cells(labels, n_classes, weight, ignore_index, joint)
        matched, log_mass = _matched(joint, cells), _log_mass(cells)

    def rows(start: int, stop: int) -> Tensor:
        if tuples is not None:
            return tuples[..., start:stop, :]
        return _unravel(torch.arange(start, stop, device=labels.device), batch, n_modalities)

    def log_sum(start: int) -> Tensor:
        index = rows(start, min(start + chunk_size, n_tuples))
        scores = joint_on(inputs, index, head, len(row_shape) - 1) + log_reference
        if log_mass is None:
            return scores.logsumexp((-2, -1))
        return _log_sum_exp(scores + _mass_of_tuples(log_mass, index).unsqueeze(-1), (-2, -1))

    n_tuples = batch**n_modalities if tuples is None else tuples.shape[-2]
    log_z = _in_chunks(log_sum, n_tuples, chunk_size)
    if log_mass is None:
        return log_z - (n_modalities * math.log(batch) if tuples is None else math.log(n_tuples)) - matched
    return log_z - matched if tuples is None else log_z - _mass_of_tuples(log_mass, tuples).logsumexp(-1) - matched


def _in_chunks(log_sum: Callable[[int], Tensor], n_tuples: int, chunk_size: int) -> Tensor:
    """Log-sum-exp over chunks that start at 0, chunk_size, ...; each is evaluated again in backward."""
    if n_tuples <= chunk_size:
        return log_sum(0)
    from torch.utils.checkpoint import checkpoint  # takes a second to import, and only this path needs it

    try:
        parts = [checkpoint(log_sum, start, use_reentrant=False) for start in range(0, n_tuples, chunk_size)]
    except RuntimeError as error:
        if "saved tensor hooks" not in str(error):
            raise
        raise RuntimeError(
            f"torch.func cannot differentiate tuples in chunks: pass chunk_size={n_tuples}, which is all of them"
        ) from error
    return torch.stack(parts).logsumexp(0)


def _mass_of_tuples(log_mass: Tensor, tuples: Tensor) -> Tensor:
    """Log of the product of the masses of a tuple's rows, (..., S)."""
    return reduce(torch.add, [rows_of(log_mass, chosen, -1) for chosen in tuples.unbind(-1)])


def joint_logits(inputs: dict[str, Tensor], head: Head | None = None) -> Tensor:
    """Joint logits (..., B, C): the head's, or the sum of additive logits; in float32 or wider."""
    if head is None:
        first, *rest = inputs.values()
        for logits in rest:
            first = first + logits
        return widened(first)
    return widened(returned_logits(head(inputs)))


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
    joint = widened(joint)
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
    check_classes(labels, n_classes)
    share = torch.bincount(labels, minlength=n_classes).double() / len(labels)
    reference = _log_reference(class_log_prior, n_classes, share)
    information = torch.special.entr(share).sum() if additive else share.new_tensor(math.log(len(labels)))
    return reference[labels].mean() - (n_modalities - 1) * information


def cap(n_rows: int, n_modalities: int, n_classes: int = 1) -> float:
    """(M - 1) log n + log C: no in-batch estimate from n rows can exceed it; n_classes is 1 without a label."""
    return (n_modalities - 1) * math.log(n_rows) + math.log(n_classes)


def _log_reference(class_log_prior: Tensor | None, n_classes: int, like: Tensor) -> Tensor:
    if class_log_prior is None:
        return like.new_full((n_classes,), -math.log(n_classes))
    if class_log_prior.shape != (n_classes,):
        raise ValueError(f"class_log_prior has shape {tuple(class_log_prior.shape)}, not ({n_classes},)")
    return class_log_prior.to(like)
