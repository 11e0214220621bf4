"""From a claim to its components: comparisons or associations on each dataset, or the same over datasets.

Every component is turned so that it reads d > margin: *less* and *smallest of* swap the sides, a negative association
turns the sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tcmax.audit.schema import Claim, contrasts_of, variants_of
from tcmax.audit.verdicts import AcrossDatasets, Difference, Estimand
from tcmax.evidence.rows import BIASED
from tcmax.evidence.scoreboard import Scoreboard
from tcmax.evidence.scores import Arm, Compared, Pairing, Treatment, arm_name
from tcmax.evidence.wording import Remark
from tcmax.experiment.grid import Experiment
from tcmax.seeding import generator
from tcmax.stats.association import Resampled, resampled_tau
from tcmax.stats.crossed import FEW_GROUPS, Crossed, average
from tcmax.stats.paired import wilcoxon_datasets
from tcmax.stats.sequential import earliest


@dataclass(frozen=True)
class Component:
    """One component of a claim: an estimand with its sizes, or the reason why there is none.

    place, contrast: the middle of its evidence ids, "<dataset>|<a>-vs-<b>". a, b: what is subtracted from what; where
    these are several variants (an arm, an association), a_variants, b_variants. b_metric, direction: of an association.
    remarks: what a reader of the verdict should know.
    """

    place: str
    contrast: str
    dataset: str | None
    a: str
    b: str | None
    estimand: Estimand | None
    reason: str | None = None
    compared: Compared | None = None
    n_seeds: int = 0
    n_items: int = 0
    n_groups: int | None = None
    n_diverged: int = 0
    n_datasets: int = 1
    notes: tuple[str | Remark, ...] = ()
    remarks: tuple[Remark, ...] = ()
    a_variants: Arm | None = None
    b_variants: Arm | None = None
    b_metric: str | None = None
    direction: str | None = None
    readout: str = "own"
    b_readout: str | None = None
    estimator: str = ""

    @property
    def key(self) -> str:
        """What tells it from the other components of its claim."""
        return f"{self.place}|{self.contrast}"


def components_on(
    claim: Claim, experiment: Experiment, board: Scoreboard, treatment: Treatment
) -> tuple[Component, ...]:
    """The components of a claim on one dataset, under one treatment of diverged runs."""
    if claim.relation == "association":
        return (_association(claim, experiment, board, treatment),)
    return tuple(
        _comparison(claim, board, contrast, treatment) for contrast in contrasts_of(claim, experiment, board.dataset)
    )


def _comparison(claim: Claim, board: Scoreboard, contrast: tuple[Arm, Arm], treatment: Treatment) -> Component:
    metric = str(claim.metric)
    biased = BIASED.get(metric)
    sides = [
        (contrast[0], board.readout(metric, claim.readout)),
        (contrast[1], board.readout(metric, claim.rival_readout or claim.readout)),
    ]
    if claim.relation in ("less", "smallest of"):
        sides.reverse()
    (a, a_readout), (b, b_readout) = sides
    a_name, b_name = arm_name(a), arm_name(b)
    component = Component(
        place=board.dataset,
        contrast=f"{a_name}-vs-{b_name}",
        dataset=board.dataset,
        a=a_name,
        b=b_name,
        a_variants=a if len(a) > 1 else None,
        b_variants=b if len(b) > 1 else None,
        estimand=None,
        n_items=board.n_items,
        n_diverged=len(board.diverged(a) | board.diverged(b)),
        readout=a_readout,
        b_readout=None if a_readout == b_readout else b_readout,
        estimator=board.estimator(metric),
        notes=board.notes,
    )
    if biased is not None:
        return replace(component, reason=biased)
    try:
        scores = [board.score(arm, metric, readout, treatment) for arm, readout in sides]
    except ValueError as error:
        return replace(component, reason=str(error))
    pairing: Pairing = "independent seeds" if claim.seed_pairing == "independent" else "paired"
    compared = board.difference(scores[0], scores[1], pairing)
    if isinstance(compared, str):
        return replace(component, reason=compared)
    c = compared.crossed
    return replace(
        component,
        estimand=Difference(c),
        compared=compared,
        n_seeds=c.n_seeds,
        n_groups=c.n_groups if board.groups else None,
        n_diverged=compared.n_diverged,
        notes=(*compared.notes, *board.notes),
        remarks=(*(note for note in compared.notes if isinstance(note, Remark)), *_few_groups(c)),
    )


def _association(claim: Claim, experiment: Experiment, board: Scoreboard, treatment: Treatment) -> Component:
    """Kendall's tau over variants, signed so that the claimed direction is positive."""
    assert claim.associated_with is not None
    variants = variants_of(claim, experiment, board.dataset)
    sign = 1.0 if claim.direction == "positive" else -1.0
    quantities = [(str(claim.metric), claim.readout), (claim.associated_with.metric, claim.associated_with.readout)]
    named = [(metric, board.readout(metric, readout)) for metric, readout in quantities]
    label = f"tau({named[0][0]}, {named[1][0]})"
    component = Component(
        place=board.dataset,
        contrast=f"{named[0][0]}-with-{named[1][0]}",
        dataset=board.dataset,
        a=", ".join(variants),
        b=None,
        a_variants=variants,
        b_metric=named[1][0],
        direction=claim.direction,
        estimand=None,
        n_items=board.n_items,
        n_diverged=len(frozenset().union(*(board.diverged((variant,)) for variant in variants))),
        readout=named[0][1],
        b_readout=named[1][1],
        estimator="Kendall's tau-b, percentile interval of resampled seeds and items",
        notes=(f"sign turned: {claim.direction} {label} is the claim", *board.notes) if sign < 0 else board.notes,
    )
    try:
        x, y = ([board.score((variant,), *quantity, treatment) for variant in variants] for quantity in named)
    except ValueError as error:
        return replace(component, reason=str(error))
    if len({score.ran for score in (*x, *y)}) > 1 and board.plan is None:
        return replace(component, reason="the variants ran different seeds, which cannot be resampled together")
    seeds = [seed for seed in x[0].seeds if all(seed in score.seeds for score in (*x, *y))]
    if not seeds:
        return replace(component, reason="no seed was finished by every variant")
    if any(score.values.shape[1] != board.n_items for score in (*x, *y)):
        return replace(component, reason="items cannot be resampled: the metric has one value per run")
    matrices = [np.stack([s.values[[s.seeds.index(seed) for seed in seeds]] for s in side]) for side in (x, y)]
    rng = generator("association", claim.id, board.dataset)
    found = resampled_tau(matrices[0], sign * matrices[1], board.groups, rng)
    found = replace(found, spending=board.spending(min(len(score.ran) for score in (*x, *y))))
    n_groups = found.units["items"] if board.groups else None
    return replace(component, estimand=found, n_seeds=len(seeds), n_groups=n_groups)


def over_datasets(claim: Claim, components: Sequence[Component], boards: Sequence[Scoreboard]) -> Component:
    """The same comparison on several datasets as one: their average, or they as a sample of datasets."""
    general = claim.quantifier == "datasets in general"
    first = components[0]
    whole = replace(
        first,
        place="in general" if general else "average",
        dataset=None,
        n_datasets=len(components),
        estimand=None,
        compared=None,
        n_seeds=min(component.n_seeds for component in components),
        n_items=sum(component.n_items for component in components),
        n_groups=None,
        n_diverged=max(component.n_diverged for component in components),
        notes=tuple(f"{component.dataset}: {note}" for component in components for note in component.notes),
        remarks=tuple(
            replace(remark, dataset=component.dataset) for component in components for remark in component.remarks
        ),
    )
    missing = next((component for component in components if component.estimand is None), None)
    if missing is not None:
        return replace(whole, reason=f"{missing.dataset}: {missing.reason}")
    estimands = [component.estimand for component in components if component.estimand is not None]
    if general:
        spending = earliest(estimand.spending for estimand in estimands)
        scale = max((each.crossed.scale for each in estimands if isinstance(each, Difference)), default=1.0)
        across = AcrossDatasets(tuple(estimand.estimate for estimand in estimands), spending, scale)
        n = len(components)
        checks = [Remark("floor", counts=(n,), value=2.0 ** (1 - n))]
        if claim.relation != "equal":
            ranks = wilcoxon_datasets(np.array(across.values) - claim.margin, scale=scale)
            checks.insert(0, Remark("ranks", counts=(n,), value=float(ranks.p_value)))
        if _same_items(boards):
            checks.append(Remark("same items"))
        estimator = "mean over datasets, Student's t"
        notes, remarks = (*checks, *whole.notes), (*checks, *whole.remarks)
        return replace(whole, estimand=across, estimator=estimator, notes=notes, remarks=remarks)
    if len(components) == 1:
        return replace(whole, estimand=estimands[0], compared=first.compared)
    estimator = f"average over datasets, {first.estimator}"
    if isinstance(estimands[0], Resampled):
        return replace(whole, estimand=_average_of_draws(estimands), estimator=estimator)
    crossed = _item_by_item(components, boards)
    if crossed is None:
        crossed = average([estimand.crossed for estimand in estimands if isinstance(estimand, Difference)])
    else:
        whole = replace(whole, n_items=crossed.n_items, notes=("the same items on every dataset", *whole.notes))
    grouped = all(component.n_groups is not None for component in components)
    return replace(
        whole, estimand=Difference(crossed), estimator=estimator, n_groups=crossed.n_groups if grouped else None
    )


def _few_groups(c: Crossed) -> tuple[Remark, ...]:
    """What is said of a comparison whose items come in too few groups."""
    if c.effective_groups >= FEW_GROUPS or c.whole_runs:
        return ()
    return (Remark("few groups", counts=(c.n_groups,), value=c.effective_groups),)


def _same_items(boards: Sequence[Scoreboard]) -> bool:
    first, *rest = (board.items.items for board in boards)
    return all(np.array_equal(first, items) for items in rest)


def _item_by_item(components: Sequence[Component], boards: Sequence[Scoreboard]) -> Crossed | None:
    """The average over datasets that hold the same items, such as cuts of the same images: the mean of their scores,
    seed by seed and item by item, as one dataset. So what an item does to all of them at once is counted, which
    `average` takes as independent. None where the items or the numbers of runs differ.

    Seeds of different datasets share nothing, so which of them are averaged together is arbitrary and costs degrees of
    freedom at most. Equal ids of different items cost nothing else either: their covariance is then 0 on average.
    """
    compared = [component.compared for component in components if component.compared is not None]
    alike = {(each.pairing, each.a.shape, each.b.shape) for each in compared}
    if len(compared) < len(boards) or len(alike) > 1 or not _same_items(boards):
        return None
    a, b = (np.mean([getattr(each, side) for each in compared], axis=0) for side in ("a", "b"))
    if a.shape[1] != boards[0].n_items:  # values of whole runs
        return None
    return boards[0].together(a, b, compared)


def _average_of_draws(estimands: Sequence[Estimand]) -> Resampled:
    """The mean of resampled statistics of independent datasets, draw by draw; skipped draws shorten the list."""
    found = [estimand for estimand in estimands if isinstance(estimand, Resampled)]
    populations = tuple(found[0].draws)
    length = {p: min(each.draws[p].size for each in found) for p in populations}
    return Resampled(
        estimate=float(np.mean([each.estimate for each in found])),
        draws={p: np.mean([each.draws[p][: length[p]] for each in found], axis=0) for p in populations},
        units={p: min(each.units[p] for each in found) for p in populations},
        spending=earliest(each.spending for each in found),
    )
