"""Every documented deviation between a paper, its authors' code and the released code, as one literal table.

A variant's `fidelity` picks a column; its `switches` override single rows, so that the effect of one deviation can be
measured alone. Each switch is documented again at the line it acts on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tcmax.errors import TcmaxError


@dataclass(frozen=True)
class Switch:
    """One deviation.

    scope: the method or head it acts in. section: where the method specification describes it.
    reference: as published, with safe numerics. original: as the method authors' code. release: as the TCMax code.
    """

    scope: str
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
    "shared_head.average": Switch(
        scope="shared-head",
        section="§2.1, §3.2",
        what="joint logits are the average of unimodal logits that each carry the whole bias, not their sum",
        reference=False,
        original=False,
        release=True,
    ),
    "unimodal.joint_selection": Switch(
        scope="unimodal",
        section="§3.8",
        what="best_val picks one epoch by joint accuracy instead of one epoch per modality by its own accuracy",
        reference=False,
        original=False,
        release=True,
    ),
    "tcmax.release_constant": Switch(
        scope="tcmax",
        section="§3.15 T1",
        what="the loss value is shifted by (M - 1) log B + log C, as the released code computes it",
        reference=False,
        original=False,
        release=True,
    ),
    "tcmax.sample_with_replacement": Switch(
        scope="tcmax",
        section="§3.15 T2",
        what="negatives are drawn with replacement",
        reference=False,
        original=False,
        release=True,
    ),
    "tcmax.mean_shift": Switch(
        scope="tcmax",
        section="§3.15 T4",
        what="exponentials are taken after subtracting the mean logit, not the maximum: overflows in float32",
        reference=False,
        original=False,
        release=True,
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
        if switch.scope not in scopes:
            raise TcmaxError(f"the switch {name!r} acts in {switch.scope}, which this variant does not use.")
        # `is`-like comparison by type too: 1 and true would act alike and yet give two run keys.
        if not any(value == known and type(value) is type(known) for known in switch.values):
            raise TcmaxError(f"the switch {name!r} takes {' or '.join(map(repr, switch.values))}, not {value!r}.")
    return {
        name: overrides.get(name, getattr(switch, fidelity))
        for name, switch in SWITCHES.items()
        if switch.scope in scopes
    }
