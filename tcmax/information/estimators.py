"""Total correlation estimated from samples: values of a critic, and a held-out estimate with its uncertainty.

P is the joint law of M variables (and a label, if there is one), Q the product of their marginals, r = dP/dQ and
TC = E_P[log r]. A critic T scores tuples; the best one is log r, up to a constant where the value does not depend on
one. Values are in nats. A label enters by a uniform reference over its C classes, as in the TCMax loss, which adds
log C - H(y) to every optimum: `Estimate` takes it off again.

First the values, pure functions of scores; then the training objective of MINE; then `estimate`, which trains a critic
on some rows, stops on others and is evaluated on a third set. Why each of that is needed: docs/total-correlation.md.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from tcmax.information.arguments import Head
from tcmax.information.total_correlation import cap, joint_logits, joint_on

# --- Values of scores on rows of P, joint (n_P,), and on rows of Q, product (n_Q,) ------------------------------------


def log_mean_exp(scores: Tensor) -> Tensor:
    """log of the mean exponential over all elements, maximum subtracted."""
    return scores.flatten().logsumexp(0) - math.log(scores.numel())


def donsker_varadhan(joint: Tensor, product: Tensor) -> Tensor:
    """DV, the value of MINE and TCNE: E_P[T] - log E_Q[e^T]. Best critic log r + const.

    With a fixed critic and n_Q independent tuples the plug-in is biased up by about Var_Q(e^T) / (2 n_Q (E_Q e^T)^2),
    which is chi^2 / (2 n_Q) for the best critic, chi^2 = E_Q[r^2] - 1 >= e^TC - 1.
    """
    return joint.mean() - log_mean_exp(product)


def tuba(joint: Tensor, product: Tensor, log_baseline: Tensor | float) -> Tensor:
    """TUBA: E_P[T] + 1 - log b - E_Q[e^T] / b, best critic log r + log b (Poole et al., 2019).

    With b fixed beforehand the plug-in is unbiased for a lower bound on TC. Scores are those of one b; for a baseline
    b(x), pass T - log b(x) and 0.
    """
    return joint.mean() + 1 - log_baseline - (product - log_baseline).exp().mean()


def nwj(joint: Tensor, product: Tensor) -> Tensor:
    """NWJ: 1 + E_P[T] - E_Q[e^T], TUBA with b = 1. Unbiased for a fixed critic, same leading variance as DV."""
    return tuba(joint, product, 0.0)


def jensen_shannon(joint: Tensor, product: Tensor) -> Tensor:
    """Objective -E_P[softplus(-T)] - E_Q[softplus(T)]: bounded, so stable to train. Best critic log r.

    Its value is not TC (its maximum is 2 JSD - 2 log 2): train with it, then plug T into `donsker_varadhan` or `nwj`.
    """
    return -softplus(-joint).mean() - softplus(product).mean()


def smile(joint: Tensor, product: Tensor, clip: float) -> Tensor:
    """SMILE: DV with e^T clipped to [e^-clip, e^clip] under Q (Song and Ermon, 2020).

    The variance of the clipped mean is at most (e^clip - e^-clip)^2 / (4 n_Q); biased, in either direction, where
    |log r| exceeds `clip`.
    """
    return joint.mean() - log_mean_exp(product.clamp(-clip, clip))


# --- Values of a table of all tuples of B rows, (B, ..., B) or (B, ..., B, C) -----------------------------------------


def infonce(scores: Tensor) -> Tensor:
    """InfoNCE of two variables: mean_i [ T_ii - log( (1/B) sum_j e^{T_ij} ) ], scores (B, B); at most log B."""
    return scores.diagonal().mean() - scores.logsumexp(1).mean() + math.log(len(scores))


def in_batch(table: Tensor, labels: Tensor | None = None) -> Tensor:
    """DV with all B^M tuples (and C labels) as product rows; with labels, minus the TCMax loss (Eq. 14).

    table: (B,) * M, or (B,) * M + (C,) with labels (B,). At most (M - 1) log B (+ log C), whatever the truth. Matched
    rows are part of the product average, which biases a good fixed critic down.
    """
    matched, cells = _split(table, labels)
    return donsker_varadhan(matched, cells)


def off_diagonal(table: Tensor, labels: Tensor | None = None) -> Tensor:
    """DV with the tuples of pairwise distinct rows as product rows: their average is unbiased, and nothing caps it.

    table and labels as for `in_batch`. Raises ValueError for fewer rows than variables.
    """
    matched, cells = _split(table, labels)
    return donsker_varadhan(
        matched, cells[_distinct(len(labels) if labels is not None else len(table), cells.ndim - 1)]
    )


def off_diagonal_additive(logits: Mapping[str, Tensor], labels: Tensor) -> Tensor:
    """`off_diagonal` of an additive critic sum_m u^m in O(2^M B C + Bell(M) C) instead of B^M C; float64.

    logits: modality -> (B, C). labels: (B,). The sum over tuples of distinct rows is an inclusion-exclusion over set
    partitions of the modalities. Where it loses more than eight digits by cancellation, which takes a class dominated
    by matched rows, that class is enumerated.
    """
    values = torch.stack([value.double() for value in logits.values()])
    n_modalities, batch, n_classes = values.shape
    if batch < n_modalities:
        raise ValueError(f"{batch} rows have no tuple of {n_modalities} distinct ones")
    top = values.amax(1, keepdim=True)
    exponentials = (values - top).exp()
    total = values.new_zeros(n_classes)
    magnitude = values.new_zeros(n_classes)
    for blocks in _partitions(range(n_modalities)):
        term = torch.stack([exponentials[block].prod(0).sum(0) for block in blocks]).prod(0)
        weight = math.prod((-1) ** (len(block) - 1) * math.factorial(len(block) - 1) for block in blocks)
        total = total + weight * term
        magnitude = magnitude + abs(weight) * term
    safe = total > 1e-8 * magnitude
    columns = torch.where(safe, total, 1.0).log() + top.sum((0, 1))
    if not safe.all():
        mask = _distinct(batch, n_modalities)
        enumerated = [_outer_sum(values[:, :, c])[mask].logsumexp(0) for c in range(n_classes)]
        columns = torch.where(safe, columns, torch.stack(enumerated))
    count = math.perm(batch, n_modalities) * n_classes
    matched = values.sum(0).gather(-1, labels.unsqueeze(-1)).mean()
    return matched - columns.logsumexp(0) + math.log(count)


def _split(table: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Matched scores (B,), and all cells (B, ..., B, classes)."""
    cells = table.unsqueeze(-1) if labels is None else table
    batch, n_variables = len(cells), cells.ndim - 1
    if n_variables < 1 or cells.shape[:-1] != (batch,) * n_variables:
        raise ValueError(f"a table of tuples has one axis of equal length per variable, not {tuple(table.shape)}")
    rows = torch.arange(batch, device=table.device)
    return cells[(*[rows] * n_variables, rows.new_zeros(batch) if labels is None else labels)], cells


def _distinct(batch: int, n_variables: int) -> Tensor:
    """Whether the rows of a tuple are pairwise distinct, (B,) * M bool."""
    if batch < n_variables:
        raise ValueError(f"{batch} rows have no tuple of {n_variables} distinct ones")
    mask = torch.ones((batch,) * n_variables, dtype=torch.bool)
    same = torch.eye(batch, dtype=torch.bool)
    for one in range(n_variables):
        for other in range(one + 1, n_variables):
            mask &= ~same.reshape([batch if axis in (one, other) else 1 for axis in range(n_variables)])
    return mask


def _outer_sum(values: Tensor) -> Tensor:
    """(M, B) to (B,) * M, the sum of one entry of each row."""
    n_variables, batch = values.shape
    shapes = [[batch if axis == m else 1 for axis in range(n_variables)] for m in range(n_variables)]
    total = values[0].reshape(shapes[0])
    for value, shape in zip(values[1:], shapes[1:], strict=True):
        total = total + value.reshape(shape)
    return total


def _partitions(items: Sequence[int]) -> Iterator[list[list[int]]]:
    """All partitions of a set into blocks."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for blocks in _partitions(rest):
        yield [[first], *blocks]
        for index, block in enumerate(blocks):
            yield [*blocks[:index], [first, *block], *blocks[index + 1 :]]


# --- Training objectives ----------------------------------------------------------------------------------------------


class MineLoss(nn.Module):
    """Minus DV on a mini-batch, with MINE's correction of its gradient (Belghazi et al., 2018, §3.2).

    The mini-batch gradient of log mean e^T is a ratio, mean(e^T grad T) / mean(e^T), and biased. Here the denominator
    is an exponential moving average of the batch means, m <- decay m + (1 - decay) batch, kept as a logarithm and
    starting at the first batch. The value is the plain one of the batch: report a held-out value instead.
    """

    log_mean: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay lies in [0, 1), not {decay}")
        self.decay = decay
        self.register_buffer("log_mean", torch.tensor(math.nan, dtype=torch.float64))

    def forward(self, joint: Tensor, product: Tensor) -> Tensor:
        value = donsker_varadhan(joint, product)
        with torch.no_grad():
            batch = log_mean_exp(product.double())
            if self.decay == 0 or self.log_mean.isnan():
                self.log_mean.copy_(batch)
            else:
                self.log_mean.copy_(
                    torch.logaddexp(self.log_mean + math.log(self.decay), batch + math.log(1 - self.decay))
                )
            weights = (product - self.log_mean.to(product)).exp() / product.numel()
        surrogate = joint.mean() - (weights * product).sum()
        return -(value.detach() + surrogate - surrogate.detach())


class ConcatCritic(nn.Module):
    """Perceptron on the concatenated variables: rows {name: (n, d)} to (n, outputs), one output per class of a label.

    generator: of the initial weights (He et al., 2015; biases zero).
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        generator: torch.Generator,
        *,
        outputs: int = 1,
        hidden: Sequence[int] = (64, 64),
    ) -> None:
        super().__init__()
        sizes = [sum(widths.values()), *hidden, outputs]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            linear = nn.Linear(fan_in, fan_out)
            nn.init.kaiming_uniform_(linear.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, rows: dict[str, Tensor]) -> Tensor:
        result: Tensor = self.layers(torch.cat(list(rows.values()), dim=-1))
        return result


# --- Held-out estimate ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """How `estimate` trains its critic.

    objective: "mine" is DV with the corrected gradient, "dv" without. All of them report the same functional.
    patience: checks without a new best value on the stopping rows. shifts: product tuples per row that is evaluated.
    fractions: of rows that train, stop and evaluate.
    """

    objective: Literal["mine", "dv", "nwj", "jensen_shannon"] = "mine"
    learning_rate: float = 1e-3
    batch_size: int = 256
    max_steps: int = 3000
    check_every_steps: int = 50
    patience: int = 10
    shifts: int = 16
    ema_decay: float = 0.99
    fractions: tuple[float, float, float] = (0.5, 0.25, 0.25)

    def __post_init__(self) -> None:
        if self.objective not in ("mine", "dv", "nwj", "jensen_shannon"):
            raise ValueError(f"objective is 'mine', 'dv', 'nwj' or 'jensen_shannon', not {self.objective!r}")
        if min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError(f"fractions are positive and sum to one, not {self.fractions}")


@dataclass(frozen=True)
class Estimate:
    """Total correlation as one critic sees it on rows that it was neither trained nor stopped on, in nats.

    value: DV with product tuples of distinct rows, label excess removed. It estimates a quantity that is at most TC and
        falls short of it by what the critic missed.
    standard_error, interval: row-level (every row enters matched and product averages), for this critic and a normal
        distribution; not the variation of training. Trust it from about 100 evaluation rows on.
    lower_bound, lower_bound_error: TUBA with the normaliser fixed on the stopping rows, at most TC in expectation.
    normaliser_bias: how far the finite number of rows pushes `value` up, to second order.
    cap: (M - 1) log n (+ log C), the most an in-batch value of n evaluation rows could be; no distribution-free
        high-confidence lower bound from n rows can be much above log n either. near_cap: value plus label excess is
        within 10 % of it: more rows are needed, the number says little.
    label_excess: log C - H(y), already subtracted; 0 without a label.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    level: float
    lower_bound: float
    lower_bound_error: float
    normaliser_bias: float
    cap: float
    near_cap: bool
    label_excess: float
    n_evaluation: int
    n_product: int

    def __str__(self) -> str:
        low, high = self.interval
        warning = " (within 10 % of the cap: too few rows to tell)" if self.near_cap else ""
        return (
            f"TC {self.value:.3f} nats, cap {self.cap:.2f}{warning}; {self.level:.0%} interval {low:.3f} to {high:.3f} "
            f"for this critic, over {self.n_evaluation} rows; lower bound {self.lower_bound:.3f}"
        )


@dataclass(frozen=True)
class _Rows:
    """Some rows of every variable, and shifts (K, M): in product tuple (k, i), variable m is row i + shifts[k, m]."""

    variables: dict[str, Tensor]
    shifts: Tensor

    @classmethod
    def draw(cls, variables: Mapping[str, Tensor], index: Tensor, shifts: int, generator: torch.Generator) -> "_Rows":
        if len(index) <= len(variables):
            raise ValueError(f"{len(index)} rows are too few for tuples of {len(variables)} distinct ones")
        others = len(variables) - 1
        drawn = [torch.randperm(len(index) - 1, generator=generator)[:others] + 1 for _ in range(shifts)]
        offsets = torch.stack([torch.cat([shift.new_zeros(1), shift]) for shift in drawn])
        return cls({name: value[index] for name, value in variables.items()}, offsets)

    def __len__(self) -> int:
        return len(next(iter(self.variables.values())))

    def product(self, critic: Head) -> Tensor:
        """Scores of tuples of pairwise distinct rows, (K, n, C)."""
        tuples = (torch.arange(len(self)).unsqueeze(-1) + self.shifts.unsqueeze(1)) % len(self)
        device = next(iter(self.variables.values())).device
        scores = joint_on(self.variables, tuples.flatten(0, 1).to(device), critic)
        return scores.reshape(len(self.shifts), len(self), -1)

    def matched(self, critic: Head, labels: Tensor | None) -> Tensor:
        """Scores of the rows as they are, (n,)."""
        scores = joint_logits(self.variables, critic)
        if scores.ndim != 2 or (labels is None and scores.shape[-1] != 1):
            expected = "(n, 1) without labels" if labels is None else "(n, C)"
            raise ValueError(f"the critic maps {len(self)} rows to {tuple(scores.shape)}, not {expected}")
        column = torch.zeros(len(self), dtype=torch.int64) if labels is None else labels
        return scores.gather(-1, column.to(scores.device).unsqueeze(-1)).squeeze(-1)


def evaluate(
    critic: Head,
    variables: Mapping[str, Tensor],
    normaliser_variables: Mapping[str, Tensor],
    generator: torch.Generator,
    *,
    labels: Tensor | None = None,
    shifts: int = 16,
    level: float = 0.95,
) -> Estimate:
    """Value of a fixed critic on independent rows that it has not seen.

    critic: rows {name: (n, ...)} to scores (n, 1), or (n, C) where there is a label. variables: name -> (n, ...), the
    evaluation rows. normaliser_variables: the same of other rows, which fix the normaliser of the lower bound. labels:
    (n,), of the evaluation rows. shifts: product tuples per row, by cyclic shifts, so that no tuple repeats a row.

    The standard error is that of the linearised value: row i contributes T(i, ..., i; y_i) - sum_m g_m(i), g_m(i) the
    mean normalised e^T of product tuples that hold row i in place m (- log of its label's share, for H(y)).
    """
    first, other = next(iter(variables.values())), next(iter(normaliser_variables.values()))
    rows = _Rows.draw(variables, torch.arange(len(first)), shifts, generator)
    normaliser_rows = _Rows.draw(normaliser_variables, torch.arange(len(other)), shifts, generator)
    with torch.no_grad():
        matched = rows.matched(critic, labels).double().cpu()
        product = rows.product(critic).double().cpu()
        log_z = log_mean_exp(product)
        log_b = log_mean_exp(normaliser_rows.product(critic).double().cpu())
        n, n_classes = len(rows), product.shape[-1]
        surprise, excess = torch.zeros(n, dtype=torch.float64), 0.0
        if labels is not None:
            share = torch.bincount(labels, minlength=n_classes).double() / n
            surprise = -share.log()[labels]
            excess = math.log(n_classes) - surprise.mean().item()
        weights = (product - log_z).exp().mean(-1)  # (K, n)
        pull = torch.zeros(n, dtype=torch.float64)
        for shift, weight in zip(rows.shifts.tolist(), weights, strict=True):
            for offset in shift:
                pull += weight.roll(offset) / len(weights)
        ratio = (log_z - log_b).exp().item()
        value = matched.mean().item() - log_z.item() - excess
        bound = matched.mean().item() + 1 - log_b.item() - ratio - excess
        standard_error = ((matched - pull + surprise).std() / math.sqrt(n)).item()
        bound_error = ((matched - ratio * pull + surprise).std() / math.sqrt(n)).item()
    half = NormalDist().inv_cdf((1 + level) / 2) * standard_error
    ceiling = cap(n, len(variables), n_classes if labels is not None else 1)
    return Estimate(
        value=value,
        standard_error=standard_error,
        interval=(value - half, value + half),
        level=level,
        lower_bound=bound,
        lower_bound_error=bound_error,
        normaliser_bias=(pull.var() / (2 * n)).item(),
        cap=ceiling,
        near_cap=value + excess >= 0.9 * ceiling,
        label_excess=excess,
        n_evaluation=n,
        n_product=weights.numel(),
    )


def estimate(
    variables: Mapping[str, Tensor],
    critic: nn.Module,
    generator: torch.Generator,
    *,
    labels: Tensor | None = None,
    training: Training | None = None,
    level: float = 0.95,
) -> Estimate:
    """Total correlation of the variables (and the label) by a critic trained here, on independent rows.

    variables: name -> (n, d_m) floating point, M >= 2 of them, or M >= 1 with labels (n,) in [0, C). critic: as for
    `evaluate`; it is trained in place and left at its best state on the stopping rows. generator: splits the rows and
    draws every batch and product tuple. Rows of one group (a speaker, a video) are not independent: pass one per group,
    or the interval is too narrow. Raises ValueError for too few rows, or lengths that differ.
    """
    training = training or Training()
    if len(variables) + (labels is not None) < 2:
        raise ValueError("total correlation needs two variables, or one and a label")
    lengths = {name: len(value) for name, value in variables.items()}
    if labels is not None:
        lengths["labels"] = len(labels)
    if len(set(lengths.values())) != 1:
        raise ValueError(f"variables must have equally many rows, not {lengths}")
    n = next(iter(lengths.values()))
    order = torch.randperm(n, generator=generator)
    n_train, n_stop = (round(n * fraction) for fraction in training.fractions[:2])
    train, stop, final = order[:n_train], order[n_train : n_train + n_stop], order[n_train + n_stop :]
    _train(variables, labels, critic, generator, training, train, stop)
    return evaluate(
        critic.eval(),
        {name: value[final] for name, value in variables.items()},
        {name: value[stop] for name, value in variables.items()},
        generator,
        labels=None if labels is None else labels[final],
        shifts=training.shifts,
        level=level,
    )


def _train(
    variables: Mapping[str, Tensor],
    labels: Tensor | None,
    critic: nn.Module,
    generator: torch.Generator,
    training: Training,
    train: Tensor,
    stop: Tensor,
) -> None:
    """Fit the critic on rows `train`; keep the state with the best DV on rows `stop`."""
    objectives: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mine": MineLoss(training.ema_decay),
        "dv": lambda joint, product: -donsker_varadhan(joint, product),
        "nwj": lambda joint, product: -nwj(joint, product),
        "jensen_shannon": lambda joint, product: -jensen_shannon(joint, product),
    }
    loss_of = objectives[training.objective]
    optimizer = torch.optim.Adam(critic.parameters(), lr=training.learning_rate)
    stopping = _Rows.draw(variables, stop, training.shifts, generator)
    best, state, waited = -math.inf, copy.deepcopy(critic.state_dict()), 0
    for step in range(training.max_steps):
        if step % training.check_every_steps == 0:
            critic.eval()
            with torch.no_grad():
                matched = stopping.matched(critic, None if labels is None else labels[stop])
                value = donsker_varadhan(matched, stopping.product(critic)).item()
            if value > best:
                best, state, waited = value, copy.deepcopy(critic.state_dict()), 0
            elif waited == training.patience:
                break
            else:
                waited += 1
            critic.train()
        chosen = train[torch.randperm(len(train), generator=generator)[: training.batch_size]]
        batch = _Rows.draw(variables, chosen, 1, generator)
        matched = batch.matched(critic, None if labels is None else labels[chosen])
        loss = loss_of(matched, batch.product(critic))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    critic.load_state_dict(state)
