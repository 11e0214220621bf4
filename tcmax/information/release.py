"""What the TCMax authors' released loss computes, one documented deviation per switch (method specification, §3.15).

Kept apart from the loss itself, so that nothing here can leak into reference results.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from tcmax.information.arguments import Head
from tcmax.information.total_correlation import cap, distinct_tuples, joint_logits, joint_on
from tcmax.models.axes import Generators, drawn


class ReleaseLoss(NamedTuple):
    """value: (...), the loss. failed: (...) bool, it is not finite, and neither is its gradient: count it."""

    value: Tensor
    failed: Tensor


def release_loss(
    inputs: Mapping[str, Tensor],
    labels: Tensor,
    *,
    head: Head | None = None,
    negatives: int | None = None,
    generator: Generators | None = None,
    release_constant: bool = True,
    sample_with_replacement: bool = True,
    mean_shift: bool = True,
) -> ReleaseLoss:
    """TCMax loss as released; with all three switches off it equals the paper's (`total_correlation.exact`, `sampled`).

    Inputs, labels and head as in `TCMaxLoss.forward`; the reference label law is uniform. All B^M tuples and classes
    are held at once, as in the release, whose M = 2 is generalised here.

    negatives: number of sampled tuples; None enumerates. 0 or less pairs every row with one random row of each further
        modality.
    release_constant (T1): the value is the paper's plus (M - 1) log B + log C.
    sample_with_replacement (T2): indices are drawn independently per modality.
    mean_shift (T4): exponentials are taken after subtracting the mean logit. In float32 the loss is NaN once a logit
        is 88.7 above the mean, inf once a matched log-probability is below -103, and from a logit range of about 50
        on the gradient can be wrong or NaN while the value is finite: `failed` does not see that last case.
    Raises ValueError for negatives with a head that is not additive, where the release itself fails (T3), and for
    negatives without a generator.
    """
    if negatives is not None and head is not None:
        raise ValueError("the released loss cannot sample negatives for a head of its own (T3): TCMaxLoss can")
    if negatives is not None and generator is None:
        raise ValueError("sampling negatives needs a torch.Generator: pass generator=")
    joint = joint_logits(dict(inputs), head)
    batch, n_classes = joint.shape[-2:]
    if negatives is None or generator is None:
        tuples = torch.cartesian_prod(*[torch.arange(batch)] * len(inputs)).reshape(-1, len(inputs))
    else:
        tuples = drawn(partial(_sample, batch, len(inputs), negatives, sample_with_replacement), generator)
    tuples = tuples.to(joint.device)
    scores = joint_on(inputs, tuples, head, labels.ndim - 1)
    matched = joint.gather(-1, labels.long().expand(joint.shape[:-1]).unsqueeze(-1))
    # Switch tcmax.mean_shift: exp and divide after subtracting the mean, instead of a log-sum-exp.
    if mean_shift:
        shift = scores.mean((-2, -1), keepdim=True)
        share = (matched - shift).exp() / (scores - shift).exp().sum((-2, -1), keepdim=True)
        value = -share.log().mean((-2, -1))
    else:
        value = scores.logsumexp((-2, -1)) - matched.mean((-2, -1))
    value = value - math.log(tuples.shape[-2]) - math.log(n_classes)
    # Switch tcmax.release_constant: exact and sampled losses share this offset, hence T1's -log B for M = 2.
    if release_constant:
        value = value + cap(batch, len(inputs), n_classes)
    return ReleaseLoss(value, ~value.detach().isfinite())


def _sample(
    batch: int, n_modalities: int, negatives: int, with_replacement: bool, generator: torch.Generator
) -> Tensor:
    """Row indices of sampled negatives, (S, M)."""
    # Switch tcmax.sample_with_replacement: tuples may repeat, and a count of 0 or less means one partner per row.
    if with_replacement and negatives <= 0:
        partners = torch.randint(batch, (batch, n_modalities - 1), generator=generator, device=generator.device)
        return torch.cat([torch.arange(batch, device=generator.device).unsqueeze(-1), partners], dim=-1)
    if with_replacement:
        return torch.randint(batch, (negatives, n_modalities), generator=generator, device=generator.device)
    return distinct_tuples(batch, n_modalities, negatives, generator)
