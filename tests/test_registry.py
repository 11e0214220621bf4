"""Tables of names: look-up by id, alias and entry point, without importing what is only named."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from tcmax import registry
from tcmax.data import DATASETS
from tcmax.errors import TcmaxError
from tcmax.methods import METHODS
from tcmax.models.encoders import ENCODERS
from tcmax.models.fusion import HEADS
from tcmax.registry import Entry, NameTable

TABLES = (DATASETS, ENCODERS, HEADS, METHODS)
COLOURS = NameTable(
    kind="colour",
    group="tests.colours",
    entries={"crema-d": Entry("collections:OrderedDict", aliases=("Cream",)), "red": Entry("fractions:Fraction")},
)


@pytest.fixture
def installed(monkeypatch):
    """Entry points as if another package had declared them."""

    def declare(**targets):
        points = [EntryPoint(name, value, "tests.colours") for name, value in targets.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "tests.colours" else [])

    return declare


@pytest.mark.parametrize("spelling", ["crema-d", "CREMA-D", "CremaD", "crema_d", "cream", "CREAM"])
def test_a_name_is_found_in_every_spelling_of_the_literature(spelling):
    assert COLOURS.canonical(spelling) == "crema-d"


def test_an_unknown_name_is_refused_with_the_closest_known_one():
    with pytest.raises(TcmaxError, match=r"unknown colour 'rde'; did you mean 'red'\?"):
        COLOURS.canonical("rde")
    with pytest.raises(TcmaxError, match=r"unknown colour 'zzz'; known: crema-d, red\."):
        COLOURS.canonical("zzz")


def test_the_empty_name_and_pure_punctuation_are_unknown():
    for name in ("", "---"):
        with pytest.raises(TcmaxError, match="unknown colour"):
            COLOURS.canonical(name)


def test_an_installed_package_adds_names_after_the_literal_ones(installed):
    installed(zebra="decimal:Decimal", amber="string:Template")
    assert COLOURS.names() == ["crema-d", "red", "amber", "zebra"]
    assert COLOURS.canonical("Zebra") == "zebra"
    assert COLOURS.target("zebra") == "decimal:Decimal"
    from decimal import Decimal

    assert COLOURS.load("zebra") is Decimal


def test_an_installed_package_cannot_replace_a_literal_name(installed):
    installed(red="decimal:Decimal")
    assert COLOURS.names() == ["crema-d", "red"]
    assert COLOURS.target("red") == "fractions:Fraction"


def test_loading_by_alias_gives_the_named_object():
    from collections import OrderedDict

    assert COLOURS.load("cream") is OrderedDict


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table in TABLES for name in table.entries], ids=lambda value: str(value)[:20]
)
def test_every_entry_of_every_table_can_be_imported(table, name):
    assert callable(table.load(name))


def test_no_spelling_stands_for_two_entries_of_a_table():
    for table in TABLES:
        spellings = [
            registry._squash(spelling)
            for name, entry in table.entries.items()
            for spelling in {registry._squash(text) for text in (name, *entry.aliases)}
        ]
        assert len(spellings) == len(set(spellings)), table.kind


def test_every_method_head_and_encoder_states_its_parameters():
    import dataclasses

    for table in (METHODS, HEADS, ENCODERS):
        for name in table.entries:
            parameters = table.load(name).Parameters
            assert dataclasses.is_dataclass(parameters), name
            assert parameters.__dataclass_params__.frozen, name
            parameters()  # every parameter has a default


def test_listing_names_imports_no_torch():
    code = (
        "import sys; from tcmax.methods import METHODS; from tcmax.models.fusion import HEADS;"
        "from tcmax.models.encoders import ENCODERS; from tcmax.data import DATASETS;"
        "[t.names() for t in (METHODS, HEADS, ENCODERS, DATASETS)]; METHODS.target('OGM-GE');"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
