"""One table of documented deviations: fidelity picks a column, a switch overrides one row."""

import re
from pathlib import Path

import pytest

import tcmax
from tcmax.errors import TcmaxError
from tcmax.experiment.switches import PROTOCOL, SWITCHES, resolve
from tcmax.methods import METHODS
from tcmax.models.fusion import HEADS

PACKAGE = Path(tcmax.__file__).parent


def test_reference_fidelity_deviates_nowhere_and_every_switch_is_a_deviation():
    scopes = tuple({scope for switch in SWITCHES.values() for scope in switch.scope})
    reference = resolve(scopes, "reference", {})
    assert set(reference) == set(SWITCHES)
    for name, switch in SWITCHES.items():
        assert reference[name] in (False, "half"), name
        assert len(switch.values) > 1, name
    # Deviations of a code base that no fidelity stands for: they can be set by name only.
    neither = {name for name, s in SWITCHES.items() if s.original == s.release == s.reference}
    assert neither == {
        "qmf.attached_weights",
        "qmf.late_history",
        "g_blending.absolute_gain",
        "g_blending.summed_losses",
    }


def test_only_switches_of_the_variants_own_parts_are_resolved():
    assert resolve(("joint", "concat"), "release", {}) == {}
    assert set(resolve(("joint", "shared-head"), "release", {})) == {"shared_head.average"}


def test_one_switch_can_be_thrown_alone_in_either_direction():
    values = resolve(("tcmax", "concat"), "reference", {"tcmax.mean_shift": True})
    assert [name for name, value in values.items() if value] == ["tcmax.mean_shift"]
    values = resolve(("tcmax", "concat"), "release", {"tcmax.mean_shift": False})
    assert [name for name, value in values.items() if not value] == ["tcmax.mean_shift"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"tcmax.mean": True}, r"unknown switch 'tcmax\.mean'; known: protocol\.file_order_split"),
        ({"shared_head.average": True}, r"acts in shared-head, which this variant does not use"),
        ({"tcmax.mean_shift": "yes"}, r"takes False or True, not 'yes'"),
        ({"tcmax.mean_shift": 1}, r"takes False or True, not 1"),
        ({"tcmax.mean_shift": None}, r"takes False or True, not None"),
    ],
)
def test_a_switch_that_cannot_be_thrown_is_refused(overrides, sentence):
    with pytest.raises(TcmaxError, match=sentence):
        resolve(("tcmax", "concat"), "reference", overrides)


def test_every_switch_acts_in_a_part_that_exists_and_names_its_section():
    for name, switch in SWITCHES.items():
        assert switch.scope, name
        assert set(switch.scope) <= {PROTOCOL, *METHODS.entries, *HEADS.entries}, name
        assert re.match(r"§\d", switch.section), name
        assert switch.reference in switch.values, name


def test_every_switch_is_documented_again_where_it_acts():
    folders = ("methods", "models/fusion", "information", "training")
    sources = "".join(path.read_text() for folder in folders for path in (PACKAGE / folder).glob("*.py"))
    for name in SWITCHES:
        assert re.search(rf"# [Ss]witch {re.escape(name)}:", sources), name
