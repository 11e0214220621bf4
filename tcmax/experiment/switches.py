"""Every documented deviation between a paper, its authors' code and the released code, as one literal table.

A variant's `fidelity` picks a column; its `switches` override single rows, so that the effect of one deviation can be
measured alone. Each switch is documented again at the line it acts on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tcmax.errors import TcmaxError

PROTOCOL = "protocol"  # the scope of what happens around every method: splits, initial weights, choosing an epoch


@dataclass(frozen=True)
class Switch:
    """One deviation.

    scope: the methods or heads it acts in, or PROTOCOL. section: where the method specification describes it.
    reference: as published, with safe numerics. original: as the method authors' code. release: as the TCMax code.
        Where there is no such code of a method, its column repeats the reference.
    """

    scope: tuple[str, ...]
    section: str
    what: str
    reference: Any
    original: Any
    release: Any

    @property
    def values(self) -> tuple[Any, ...]:
        """Distinct values a config may set."""
        distinct: list[Any] = []
        for value in (self.reference, self.original, self.release):
            if value not in distinct:
                distinct.append(value)
        if distinct in ([True], [False]):
            return (True, False)
        return tuple(distinct)


SWITCHES: dict[str, Switch] = {
    "protocol.file_order_split": Switch(
        scope=(PROTOCOL,),
        section="§1.2, §1.10 P1",
        what="the last 20 % of the train list, in file order, validate; not the dataset's own validation part",
        reference=False,
        original=False,
        release=True,
    ),
    "protocol.released_start": Switch(
        scope=(PROTOCOL,),
        section="§1.6",
        what="convolutions start Kaiming-normal by fan-out and batch norms from N(1, 0.02^2), not as the encoder says",
        reference=False,
        original=False,
        release=True,
    ),
    "protocol.aliased_selection": Switch(
        scope=(PROTOCOL,),
        section="§1.8, §1.10 P2",
        what="the kept best weights alias the live ones, so that best_val tests the last epoch",
        reference=False,
        original=False,
        release=True,
    ),
    "protocol.flow_never_flipped": Switch(
        scope=(PROTOCOL,),
        section="§1.5, §1.10 P6",
        what="frames flip one by one and flow never, so that motion contradicts what is seen; not a clip as a whole",
        reference=False,
        original=False,
        release=True,
    ),
    "shared_head.average": Switch(
        scope=("shared-head",),
        section="§2.1, §3.2",
        what="joint logits are the average of unimodal logits that each carry the whole bias, not their sum",
        reference=False,
        original=False,
        release=True,
    ),
    "unimodal.joint_selection": Switch(
        scope=("unimodal",),
        section="§3.8",
        what="best_val picks one epoch by joint accuracy instead of one epoch per modality by its own accuracy",
        reference=False,
        original=False,
        release=True,
    ),
    "tcmax.release_constant": Switch(
        scope=("tcmax",),
        section="§3.15 T1",
        what="the loss value is shifted by (M - 1) log B + log C, as the released code computes it",
        reference=False,
        original=False,
        release=True,
    ),
    "tcmax.sample_with_replacement": Switch(
        scope=("tcmax",),
        section="§3.15 T2",
        what="negatives are drawn with replacement",
        reference=False,
        original=False,
        release=True,
    ),
    "tcmax.mean_shift": Switch(
        scope=("tcmax",),
        section="§3.15 T4",
        what="exponentials are taken after subtracting the mean logit, not the maximum: overflows in float32",
        reference=False,
        original=False,
        release=True,
    ),
    "film.first_conditions": Switch(
        scope=("film",),
        section="§3.4",
        what="the first modality conditions the second, not the second the first",
        reference=False,
        original=True,
        release=True,
    ),
    "gated.first_gates": Switch(
        scope=("gated",),
        section="§3.5",
        what="the gate comes from the first modality and the content from the second",
        reference=False,
        original=True,
        release=True,
    ),
    "bigated.content_branch_only": Switch(
        scope=("bigated",),
        section="§3.5",
        what="a unimodal read-out leaves out the branches that its modality gates",
        reference=False,
        original=False,
        release=True,
    ),
    "prototype.initial_temperature": Switch(
        scope=("prototype",),
        section="§2.1, §6",
        what="the default temperature is CLIP's initial 0.07, not its trained 0.01",
        reference=False,
        original=False,
        release=True,
    ),
    "ogm.last_epoch": Switch(
        scope=("ogm", "ogm-ge", "ogm-ge-opm"),
        section="§3.6, §6",
        what="the default last modulated epoch: half of the run, or a number",
        reference="half",
        original=50,
        release=50,
    ),
    "ogm.min_ratio": Switch(
        scope=("ogm", "ogm-ge", "ogm-ge-opm"),
        section="§3.6",
        what="beyond two modalities the default ratio is to the smallest score, not to the mean of the others",
        reference=False,
        original=False,
        release=True,
    ),
    "agm.last_epoch": Switch(
        scope=("agm",),
        section="§3.7, §6",
        what="the default last modulated epoch: half of the run, or a number",
        reference="half",
        original=19,
        release=50,
    ),
    "agm.head_scores": Switch(
        scope=("agm",),
        section="§3.7",
        what="the head's unimodal logits stand for Shapley responses",
        reference=False,
        original=False,
        release=True,
    ),
    "agm.encoder_only": Switch(
        scope=("agm",),
        section="§3.7",
        what="encoder gradients are scaled after backward, not those through the responses",
        reference=False,
        original=False,
        release=True,
    ),
    "agm.stale_scale": Switch(
        scope=("agm",),
        section="§3.7",
        what="after its window the last scale stays active",
        reference=False,
        original=True,
        release=False,
    ),
    "agm.no_clipping": Switch(
        scope=("agm",),
        section="§3.7, §6",
        what="gradients are never clipped",
        reference=False,
        original=False,
        release=True,
    ),
    "agm.min_reference": Switch(
        scope=("agm",),
        section="§3.7",
        what="beyond two modalities costs are compared with the smallest one, not their mean",
        reference=False,
        original=False,
        release=True,
    ),
    "qmf.inverted_margin": Switch(
        scope=("qmf",),
        section="§3.9",
        what="the ranking hinge subtracts its margin",
        reference=False,
        original=True,
        release=True,
    ),
    "qmf.attached_weights": Switch(
        scope=("qmf",),
        section="§3.9",
        what="gradients pass through the weights of the fused logits (authors' RGB-D code)",
        reference=False,
        original=False,
        release=False,
    ),
    "qmf.late_history": Switch(
        scope=("qmf",),
        section="§3.9",
        what="ranking precedes the history's update: the first batch is NaN (authors' RGB-D code)",
        reference=False,
        original=False,
        release=False,
    ),
    "opm.release_rates": Switch(
        scope=("opm", "ogm-ge-opm"),
        section="§3.10, §6",
        what="the default drop rate and strength are 0.25 and 1.0, not 0.5 and 0.5",
        reference=False,
        original=False,
        release=True,
    ),
    "opm.every_batch": Switch(
        scope=("opm", "ogm-ge-opm"),
        section="§3.10, §6",
        what="by default every batch drops: no warm-up, no probability per batch",
        reference=False,
        original=False,
        release=True,
    ),
    "opm.tanh_of_ratio": Switch(
        scope=("opm", "ogm-ge-opm"),
        section="§3.10",
        what="the drop rate grows with tanh(rho), not tanh(rho - 1)",
        reference=False,
        original=False,
        release=True,
    ),
    "opm.late_rates": Switch(
        scope=("opm", "ogm-ge-opm"),
        section="§3.10",
        what="features are dropped by the rates of the previous batch",
        reference=False,
        original=False,
        release=True,
    ),
    "opm.no_rescaling": Switch(
        scope=("opm", "ogm-ge-opm"),
        section="§3.10",
        what="features are not divided by the expected kept share",
        reference=False,
        original=False,
        release=True,
    ),
    "mla.projector_unused": Switch(
        scope=("mla",),
        section="§3.13",
        what="the projection of the classifier's gradient is never executed",
        reference=False,
        original=True,
        release=True,
    ),
    "mla.zeroed_gradients": Switch(
        scope=("mla",),
        section="§3.13",
        what="encoders already visited in a batch take further updates of momentum and weight decay",
        reference=False,
        original=True,
        release=False,
    ),
    "mla.batch_gating": Switch(
        scope=("mla",),
        section="§3.13",
        what="model selection weighs a modality by one entropy of all rows together, not per sample",
        reference=False,
        original=True,
        release=False,
    ),
    "mmpareto.constant_rate": Switch(
        scope=("mmpareto",),
        section="§3.14",
        what="the learning rate of the first epoch is kept throughout",
        reference=False,
        original=True,
        release=False,
    ),
    "mcr.unused_regularizer": Switch(
        scope=("mcr",),
        section="§4.1 R1",
        what="of two modalities neither the regulariser nor the contrastive term is added to the loss",
        reference=False,
        original=True,
        release=False,
    ),
    "mcr.evaluation_pass": Switch(
        scope=("mcr",),
        section="§4.1",
        what="exchanged features come from a second pass with running statistics",
        reference=False,
        original=True,
        release=False,
    ),
    "mlb.beta_ignored": Switch(
        scope=("mlb",),
        section="§4.2 B2",
        what="the parameter beta has no effect: coefficients follow the plain rule",
        reference=False,
        original=True,
        release=False,
    ),
    "pmr.hard_coefficient": Switch(
        scope=("pmr",),
        section="§5.1",
        what="a weaker modality is boosted by alpha however close it is, not in proportion to its lag",
        reference=False,
        original=True,
        release=False,
    ),
    "pmr.late_average": Switch(
        scope=("pmr",),
        section="§5.1",
        what="prototypes are averaged from the third refresh on, not from the second",
        reference=False,
        original=True,
        release=False,
    ),
    "pmr.no_average": Switch(
        scope=("pmr",),
        section="§5.1",
        what="prototypes are never averaged over refreshes",
        reference=False,
        original=False,
        release=True,
    ),
    "pmr.absent_class_nan": Switch(
        scope=("pmr",),
        section="§5.1",
        what="a class absent from the refreshing items has prototypes of NaN, and the run diverges",
        reference=False,
        original=True,
        release=True,
    ),
    "pmr.drop_large": Switch(
        scope=("pmr",),
        section="§5.1",
        what="a prototype loss above 10 is left out",
        reference=False,
        original=False,
        release=True,
    ),
    "pmr.entropy_over_batch": Switch(
        scope=("pmr",),
        section="§5.1",
        what="the entropy term takes its softmax over items; inert unless it has a weight",
        reference=False,
        original=False,
        release=True,
    ),
    "pmr.strong_boost": Switch(
        scope=("pmr",),
        section="§5.1",
        what="beyond two modalities the stronger ones are boosted, not the weaker",
        reference=False,
        original=False,
        release=True,
    ),
    "pmr.no_window": Switch(
        scope=("pmr",),
        section="§5.1",
        what="by default the extra terms never end; inert in runs of up to 101 epochs",
        reference=False,
        original=False,
        release=True,
    ),
    "reconboost.detached_agreement": Switch(
        scope=("reconboost",),
        section="§5.2",
        what="the agreement term is detached on both sides: it has no gradient",
        reference=False,
        original=True,
        release=False,
    ),
    "reconboost.moving_statistics": Switch(
        scope=("reconboost",),
        section="§5.2",
        what="frozen encoders stay in training mode, so that their running statistics move",
        reference=False,
        original=True,
        release=False,
    ),
    "cosine.raw_evaluation": Switch(
        scope=("cosine",),
        section="§5.3",
        what="joint logits are evaluated as a plain linear layer, not as the cosines that were trained",
        reference=False,
        original=True,
        release=False,
    ),
    "g_blending.absolute_gain": Switch(
        scope=("g-blending",),
        section="§5.4",
        what="a loss that got worse is weighted as if it had improved (BalanceBenchmark)",
        reference=False,
        original=False,
        release=False,
    ),
    "g_blending.summed_losses": Switch(
        scope=("g-blending",),
        section="§5.4",
        what="losses are summed over parts of different size, not averaged (BalanceBenchmark)",
        reference=False,
        original=False,
        release=False,
    ),
}


def resolve(scopes: tuple[str, ...], fidelity: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Value of every switch that acts in `scopes` (a method and a head), under a fidelity and overrides.

    Raises TcmaxError for an unknown switch, one that does not act here, or a value it cannot take.
    """
    for name, value in overrides.items():
        if name not in SWITCHES:
            raise TcmaxError(f"unknown switch {name!r}; known: {', '.join(SWITCHES)}.")
        switch = SWITCHES[name]
        if not set(switch.scope) & set(scopes):
            raise TcmaxError(f"the switch {name!r} acts in {', '.join(switch.scope)}, which this variant does not use.")
        # `is`-like comparison by type too: 1 and true would act alike and yet give two run keys.
        if not any(value == known and type(value) is type(known) for known in switch.values):
            raise TcmaxError(f"the switch {name!r} takes {' or '.join(map(repr, switch.values))}, not {value!r}.")
    return {
        name: overrides.get(name, getattr(switch, fidelity))
        for name, switch in SWITCHES.items()
        if set(switch.scope) & set(scopes)
    }
