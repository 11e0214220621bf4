"""MCR: modalities compete by how far the prediction moves without them (arXiv 2411.07335; methods §4.1).

With f^(Q) the joint logits after the features of the modalities in Q are exchanged between the items of a batch,

    J_Q = mean JS(sm(f), sm(f^(Q)))   over items and n exchanges, for every non-empty proper subset Q,

and J_{Q->m} the same number with gradients through the features of modality m alone,

    L = CE(f, y) + w_u sum_m CE(v^m, y) + R + c_con L_con + c_ceb L_ceb,
    R = lambda sum_Q ( -sum_{m in Q} J_{Q->m} + sum_{m not in Q} J_{Q->m} )   (greedy; independent has no second sum).

For M = 2 the greedy R is zero as a number and acts through its gradient alone: watch the logged J_Q. L_con is NT-Xent
over the normalised features of all modalities, L_ceb the error of features decoded from the (detached) joint logits.
v^m come from auxiliary heads, by default on detached features.

Exchanging uses logits, never the encoders again, so the head must be additive. Overrides `loss`, and `step` for one
switch. Left out: enumerations of all pairs of items as exchanges, regression, and unimodally trained initial encoders.
The authors' code at the commit examined adds no regulariser for two modalities (switch `mcr.unused_regularizer`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import log
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tcmax.methods.base import Batch, Method, Progress, Search, Setting, cross_entropy
from tcmax.models.axes import rows_of
from tcmax.models.classifier import MultimodalClassifier, Outputs
from tcmax.models.fusion.base import total
from tcmax.models.fusion.concat_aux import ConcatAuxiliary
from tcmax.models.sgd import SGD


@dataclass(frozen=True)
class MCRParameters:
    """weight: lambda, 0.1 on CREMA-D and 0.01 on AVE in the authors' README; they search 0.001 to 1.

    strategy: "greedy" (their default), "independent", or "collaborative": R = -lambda sum_Q J_Q with all gradients.
    exchanges: n, 32 in their script (6 in their JSON config).
    partners: who an item's features come from: "any" item by a permutation (their `rand`), one with an "other_label"
        (`rsl`), or a permutation that leaves none in place, "not_itself" (`rsi`).
    unimodal_weight: w_u, 0.01 in their ResNet runs (1 for conformers). unimodal_gradients: whether it reaches encoders.
    contrastive_weight: c_con, 1. temperature: of L_con, 0.5.
    positives: in L_con, rows of the same "label" or the same "item".
    decoding_weight: c_ceb, 0 in their ResNet runs (1 for conformers); needs the head's `decoder`.
    """

    weight: float = 0.1
    strategy: Literal["greedy", "independent", "collaborative"] = "greedy"
    exchanges: int = 32
    partners: Literal["any", "other_label", "not_itself"] = "any"
    unimodal_weight: float = 0.01
    unimodal_gradients: bool = False
    contrastive_weight: float = 1.0
    temperature: float = 0.5
    positives: Literal["label", "item"] = "label"
    decoding_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("weight", "unimodal_weight", "contrastive_weight", "decoding_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")
        if self.exchanges < 1:
            raise ValueError("exchanges must be at least 1")
        if self.temperature <= 0:
            raise ValueError("temperature must be positive")


class MCR(Method):
    """Joint cross-entropy with a competition between encoders; needs Concat with auxiliary heads."""

    Parameters: ClassVar[type] = MCRParameters
    # The range that the authors search.
    search: ClassVar[Search] = {"weight": {"low": 0.001, "high": 1.0, "scale": "log"}}
    default_head = "concat-aux"
    side_by_side = True

    def __init__(self, parameters: MCRParameters, setting: Setting) -> None:
        super().__init__(parameters, setting)
        names = setting.modalities
        self.subsets = [frozenset(q) for size in range(1, len(names)) for q in combinations(names, size)]
        # Switch mcr.unused_regularizer: for two modalities the authors compute R and L_con and add neither.
        self.regularized = not (setting.switches["mcr.unused_regularizer"] and len(names) == 2)
        self.moved: Outputs | None = None

    def check(self, model: MultimodalClassifier) -> None:
        hyper, head = self.hyperparameters, model.head
        if len(model.modalities) < 2:
            raise ValueError("MCR lets modalities compete, so it needs at least two")
        if not isinstance(head, ConcatAuxiliary):
            raise ValueError("MCR needs unimodal heads beside a Concat head: use the head concat-aux")
        if hyper.contrastive_weight and len(set(head.widths.values())) > 1:
            raise ValueError(
                f"the contrastive term compares features across modalities and needs equal widths, not {head.widths}; "
                "set the method's parameter `contrastive_weight: 0` to leave it out"
            )
        if hyper.decoding_weight and head.decoder is None:
            raise ValueError("decoding_weight needs the parameter `decoder` of the head concat-aux, a hidden width")

    def bind(self, model: MultimodalClassifier) -> None:
        head = cast(ConcatAuxiliary, model.head)
        # Bound methods, so that the head does not become a part of this module.
        self.head, self.auxiliary_logits = head.forward, head.auxiliary_logits
        self.decode = None if head.decoder is None else head.decoder.forward

    def step(self, model: MultimodalClassifier, batch: Batch, optimizer: SGD, progress: Progress) -> dict[str, Tensor]:
        # Switch mcr.evaluation_pass: the authors take exchanged features from a second pass with running statistics, so
        # that even the exchange of nothing moves the prediction of a network with batch norm.
        if self.setting.switches["mcr.evaluation_pass"] and self.regularized:
            model.eval()
            self.moved = model(batch.inputs)
            model.train()
        return super().step(model, batch, optimizer, progress)

    def loss(self, outputs: Outputs, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        hyper = self.hyperparameters
        features = outputs.features if hyper.unimodal_gradients else _detached(outputs.features)
        auxiliary = self.auxiliary_logits(features)
        joint = cross_entropy(outputs.logits["joint"], batch.labels)
        unimodal = {f"loss.{name}": cross_entropy(v, batch.labels) for name, v in auxiliary.items()}
        loss = joint + hyper.unimodal_weight * total(unimodal)
        terms = {"loss.joint": joint, **unimodal}
        if self.regularized:
            competition, influence = self.competition(outputs, batch, progress)
            loss = loss + hyper.weight * competition
            terms |= influence
            if hyper.contrastive_weight:
                terms["contrastive"] = self.contrastive(outputs.features, batch)
                loss = loss + hyper.contrastive_weight * terms["contrastive"]
        if hyper.decoding_weight and self.decode is not None:
            everything = torch.cat(list(outputs.features.values()), dim=-1)
            decoded = self.decode(outputs.logits["joint"].detach())
            terms["decoding"] = (decoded - everything).square().mean((-2, -1))
            loss = loss + hyper.decoding_weight * terms["decoding"]
        return {"loss": loss, **terms}

    def competition(self, outputs: Outputs, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """R / lambda, and J_Q of single modalities to log; all subsets Q at once."""
        partners = self.draw_partners(batch.labels, progress)
        here = self.both_ways(outputs)
        there = here if self.moved is None else self.both_ways(self.moved)
        moved, signs, head_sign = (table.to(partners.device) for table in self.signs())
        exchanged = _routed(*there, signs, head_sign)  # (..., Q, M, B, C)
        clean = (exchanged if there is here else _routed(*here, signs, head_sign)).sum(-3)
        # The logits of Q come from a partner, the others' stay with their item: (..., Q, n, B, C).
        come, stay = (torch.where(chosen, exchanged, 0.0).sum(-3) for chosen in (moved, ~moved))
        index = partners.flatten(-2).unsqueeze(-2).expand(*come.shape[:-2], -1)
        mixed = stay.unsqueeze(-3) + rows_of(come, index, -2).unflatten(-2, partners.shape[-2:])
        divergence = jensen_shannon(clean.unsqueeze(-3), mixed)
        value = divergence.detach()
        # The number is sum_m sign J_{Q->m} = head_sign J_Q.
        result = (divergence + (head_sign.flatten() - 1) * value).sum(-1)
        single = [next(iter(q)) for q in self.subsets if len(q) == 1]
        return result, {f"influence.{name}": j for name, j in zip(single, value.unbind(-1), strict=False)}

    def both_ways(self, outputs: Outputs) -> tuple[Tensor, Tensor]:
        """Unimodal logits (..., M, B, C), with gradients to features and head, and from detached features."""
        head_only = self.head(_detached(outputs.features))
        names = list(outputs.unimodal)
        return torch.stack([outputs.unimodal[m] for m in names], -3), torch.stack([head_only[m] for m in names], -3)

    def signs(self) -> tuple[Tensor, Tensor, Tensor]:
        """By subset and modality: whether it is moved, (Q, M, 1, 1), and the sign of J_{Q->m}, the same shape; and how
        often the head sees the gradient of J_Q, which is in every J_{Q->m}, (Q, 1, 1, 1)."""
        strategy, names = self.hyperparameters.strategy, self.setting.modalities
        moved = torch.tensor([[name in q for name in names] for q in self.subsets])[..., None, None]
        if strategy == "collaborative":  # one J_Q, without detaching
            return moved, -torch.ones(moved.shape), -torch.ones(len(moved), 1, 1, 1)
        signs = torch.where(moved, -1.0, 1.0 if strategy == "greedy" else 0.0)
        return moved, signs, signs.sum(1, keepdim=True)

    def draw_partners(self, labels: Tensor, progress: Progress) -> Tensor:
        """(..., n, B): whose features each item gets. An item with no admissible partner keeps its own."""
        exchanges, size = self.hyperparameters.exchanges, labels.shape[-1]
        if self.hyperparameters.partners == "other_label":
            admissible = labels.unsqueeze(-2) != labels.unsqueeze(-1)
            itself = torch.eye(size, dtype=torch.bool, device=labels.device)
            admissible = admissible | (itself & ~admissible.any(-1, keepdim=True))
            of_seed = iter(admissible.double().reshape(-1, size, size))
            return progress.draw(
                lambda generator: torch.multinomial(next(of_seed), exchanges, True, generator=generator).T
            )
        draws = progress.draw(partial(torch.rand, (exchanges, size), device=labels.device))
        order = draws.argsort(-1)
        if self.hyperparameters.partners == "any":
            return order
        return torch.empty_like(order).scatter_(-1, order, order.roll(-1, -1))  # the next in a random circle

    def contrastive(self, features: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """NT-Xent over M B rows: mean over positive pairs (a, p) of -log e_ap / (e_ap + sum over negatives of a)."""
        rows = normalize(torch.cat(list(features.values()), dim=-2), dim=-1)
        kind = batch.labels if self.hyperparameters.positives == "label" else batch.rows
        kind = torch.cat([kind] * len(features), dim=-1)
        same = kind.unsqueeze(-2) == kind.unsqueeze(-1)
        similarity = rows @ rows.mT / self.hyperparameters.temperature
        # An anchor without negatives has -inf here and costs 0.
        negatives = similarity.masked_fill(same, -torch.inf).logsumexp(-1, keepdim=True)
        costs = torch.logaddexp(similarity, negatives) - similarity
        pairs = same & ~torch.eye(rows.shape[-2], dtype=torch.bool, device=rows.device)
        result: Tensor = costs.where(pairs, 0.0).sum((-2, -1)) / pairs.sum((-2, -1))
        return result


def jensen_shannon(clean: Tensor, mixed: Tensor) -> Tensor:
    """(...): divergence (nats) of softmax distributions, mean over the rows of the last but one and two axes; logits
    (..., 1, B, C) and (..., n, B, C)."""
    with torch.no_grad():  # a logarithm's own derivative cancels: probabilities add up to one, here and in the middle
        one, other = clean.log_softmax(-1), mixed.log_softmax(-1)
        middle = torch.logaddexp(one, other) - log(2)
        one, other = one - middle, other - middle
    return ((clean.softmax(-1) * one + mixed.softmax(-1) * other).sum(-1) / 2).mean((-2, -1))


def _routed(logits: Tensor, head_only: Tensor, signs: Tensor, head_sign: Tensor) -> Tensor:
    """The same logits with gradients multiplied: those to features by the modality's sign, the head's by head_sign.

    All J_{Q->m} of one Q are one number and differ in where gradients go, so that one evaluation serves for all.
    logits, head_only: (..., M, B, C), the second from detached features. Returns (..., Q, M, B, C).
    """
    logits, head_only = logits.unsqueeze(-4), head_only.unsqueeze(-4)
    kept = logits.detach()
    return kept + signs * (logits - head_only) + head_sign * (head_only - kept)


def _detached(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: z.detach() for name, z in features.items()}
