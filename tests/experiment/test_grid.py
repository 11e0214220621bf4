"""The experiment file: one validator, every mistake named with file and key, and the grid it spans."""

import csv
import subprocess
import sys

import pytest
import tiny
import yaml
from projects import ROOT

from tcmax.data import DATASETS
from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Cell, load
from tcmax.experiment.yaml import read_yaml
from tcmax.models.encoders import ENCODERS
from tcmax.registry import Entry
from tcmax.training.spec import check_parts

pytestmark = pytest.mark.usefixtures("installed_tiny")


@pytest.fixture
def written(tmp_path):
    """Write an experiment file; returns its path."""

    def write(text=None, **changes):
        path = tmp_path / "tiny.yaml"
        path.write_text(text if text is not None else yaml.safe_dump(tiny.raw(**changes)))
        return path

    return write


def test_a_valid_file_gives_typed_settings_with_the_papers_optimiser(written):
    settings = load(written()).settings
    assert (settings.training.momentum, settings.training.weight_decay) == (0.9, 1e-4)
    assert settings.seeds == (0, 1)
    assert settings.variants["joint"].head.name == "concat"
    assert (settings.selection, settings.precision, settings.device) == ("last", "float32", "cpu")
    with pytest.raises(Exception, match="frozen"):
        settings.training.epochs = 5


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "config").glob("*.yaml") if p.stem != "theory"))
def test_every_shipped_experiment_is_valid(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    experiment = load(name)
    check_parts(experiment)
    assert experiment.name == name


MISTAKES = [
    ({"colour": "red"}, "tiny.yaml: colour: unknown key"),
    ({"training": {"batch_size": 8, "learning_rate": 0.1}}, "training.epochs: this key is missing"),
    ({"training": tiny.training(epochs=0)}, "training.epochs: .*greater than or equal to 1.* \\(got 0\\)"),
    ({"training": tiny.training(epochs=2.5)}, "training.epochs: .*integer"),
    ({"training": tiny.training(epochs="4")}, "training.epochs: .*integer"),
    ({"training": tiny.training(epochs=True)}, "training.epochs: .*integer"),
    ({"training": tiny.training(batch_size=1)}, "training.batch_size"),
    ({"training": tiny.training(learning_rate=0)}, "training.learning_rate: .*greater than 0"),
    ({"training": tiny.training(learning_rate=float("nan"))}, "training.learning_rate: .*finite"),
    ({"training": tiny.training(momentum=1)}, "training.momentum: .*less than 1"),
    ({"training": tiny.training(lr_drop_epochs=[0])}, "training.lr_drop_epochs.0"),
    ({"training": tiny.training(lr=0.1)}, "training.lr: unknown key"),
    ({"seeds": [0, -1]}, r"seeds.1: .*greater than or equal to 0 \(got -1\)"),
    ({"seeds": [0, 0]}, "a seed is listed twice"),
    ({"seeds": []}, "at least one seed"),
    ({"seeds": 0}, "non-negative integers or a range"),
    ({"seeds": "0..3"}, "non-negative integers or a range"),
    ({"seeds": "3-1"}, "at least one seed"),
    ({"seeds": "-1-3"}, "non-negative integers or a range"),
    ({"seeds_per_job": 0}, "seeds_per_job"),
    ({"selection": "best_test_oracle"}, "selection: .*'last' or 'best_val'"),
    ({"precision": "float16"}, "precision"),
    ({"device": "tpu"}, "device"),
    ({"variants": {}}, "at least one variant"),
    ({"datasets": {}}, "at least one dataset"),
    ({"variants": {"a/b": {"method": "joint"}}}, "'a/b': names become folders"),
    ({"variants": {"..": {"method": "joint"}}}, "names become folders"),
    ({"variants": {"a": {"method": "jiont"}}}, r"variants\.a\.method: unknown method 'jiont'; did you mean 'joint'\?"),
    ({"variants": {"a": {"method": "joint", "head": "conct"}}}, r"variants\.a\.head: unknown fusion head 'conct'"),
    ({"variants": {"a": {"method": "joint", "heads": "concat"}}}, r"variants\.a\.heads: unknown key"),
    ({"variants": {"a": {"method": "joint", "fidelity": "exact"}}}, r"variants\.a\.fidelity"),
    ({"reference_variant": "nobody"}, "reference_variant: there is no variant 'nobody'"),
    ({"datasets": {"tinny": None}}, r"datasets\.tinny: unknown dataset 'tinny'; did you mean 'tiny'\?"),
    ({"datasets": {"tiny": {"encoder": {"name": "mpl"}}}}, r"datasets\.tiny\.encoder: unknown encoder 'mpl'"),
    (
        {"datasets": {"tiny": {"encoders": {"left": {"name": "mpl"}}}}},
        r"datasets\.tiny\.encoders\.left: unknown encoder 'mpl'",
    ),
    ({"datasets": {"tiny": {"encoder": {"hidden": [4]}}}}, r"datasets\.tiny\.encoder\.name: this key is missing"),
    ({"datasets": {"tiny": {"variants": ["nobody"]}}}, r"datasets\.tiny\.variants: there is no variant 'nobody'"),
    ({"datasets": {"tiny": {"variants": []}}}, r"datasets\.tiny\.variants: at least one variant"),
    ({"datasets": {"tiny": {"variants": ["joint", "joint"]}}}, r"datasets\.tiny\.variants: a variant is listed twice"),
    ({"datasets": {"tiny": {"training": {"epochs": -1}}}}, r"tiny\.yaml: datasets\.tiny\.training\.epochs"),
    ({"datasets": {"tiny": {"training": {"epoch": 1}}}}, r"datasets\.tiny\.training\.epoch: unknown key"),
    ({"name": "other"}, "name: the file is called 'tiny', the experiment 'other'"),
]


@pytest.mark.parametrize(("changes", "sentence"), MISTAKES, ids=[sentence for _, sentence in MISTAKES])
def test_a_mistake_is_one_sentence_with_file_and_key(written, changes, sentence):
    with pytest.raises(TcmaxError, match=sentence) as caught:
        load(written(**changes))
    assert "tiny.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 1: the key 'a' occurs twice"),
        ("training: {epochs: 1, epochs: 2}\n", "the key 'epochs' occurs twice"),
        ("a: [1\n", "tiny.yaml: line 2"),
        ("name: {{ name }}\n", "line 1: found unhashable key"),
        ("a: *nowhere\n", "line 1: found undefined alias"),
        ("a: !!python/object:os.system {}\n", "line 1: could not determine a constructor"),
        ("- a\n- b\n", "an experiment file is a mapping"),
        ("", "an experiment file is a mapping"),
        ("plain text", "an experiment file is a mapping"),
    ],
)
def test_ill_formed_yaml_is_one_sentence_with_the_line(written, text, sentence):
    with pytest.raises(TcmaxError, match=sentence):
        load(written(text))


def test_text_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "tiny.yaml").write_bytes(b"name: \xe9\n")
    with pytest.raises(TcmaxError, match=r"tiny\.yaml is not UTF-8 text"):
        load(tmp_path / "tiny.yaml")


def test_a_merged_key_may_be_overridden_but_not_repeated(written):
    text = "base: &base {x: 1, y: 2}\nuse: {<<: *base, x: 3}\n"
    assert read_yaml(written(text))["use"] == {"x": 3, "y": 2}
    with pytest.raises(TcmaxError, match="'x' occurs twice"):
        read_yaml(written("base: &base {x: 1}\nuse: {<<: *base, x: 3, x: 4}\n"))


def test_a_byte_order_mark_is_harmless(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfname: x\n")
    assert read_yaml(tmp_path / "a.yaml") == {"name": "x"}


def test_an_unknown_experiment_lists_those_that_exist(tmp_path, monkeypatch, written):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TcmaxError, match=r"there is no experiment file config/tiny\.yaml; experiments here: none\."):
        load("tiny")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "other.yaml").touch()
    with pytest.raises(TcmaxError, match=r"experiments here: other\."):
        load("tiny")


def test_a_range_of_seeds_includes_both_ends(written):
    assert load(written(seeds="3-6")).settings.seeds == (3, 4, 5, 6)
    assert load(written(seeds="7-7")).settings.seeds == (7,)


def test_blocks_cut_the_seed_list_in_order_and_lose_none():
    experiment = tiny.experiment(seeds=[9, 2, 7, 3, 5], seeds_per_job=2)
    assert experiment.blocks == ((9, 2), (7, 3), (5,))
    assert tiny.experiment(seeds=[9, 2], seeds_per_job=12).blocks == ((9, 2),)


def test_the_grid_is_every_dataset_fold_and_variant_in_config_order():
    experiment = tiny.experiment(
        datasets={"tiny": {"folds": 2, "variants": ["tcmax", "joint"]}, "digits-halves": {"variants": ["joint"]}}
    )
    assert list(experiment.cells()) == [
        Cell("tiny", 0, "tcmax"),
        Cell("tiny", 0, "joint"),
        Cell("tiny", 1, "tcmax"),
        Cell("tiny", 1, "joint"),
        Cell("digits-halves", 0, "joint"),
    ]


def test_a_datasets_own_training_settings_override_single_keys(written):
    experiment = load(written(datasets={"tiny": {"training": {"epochs": 9, "learning_rate": 1}}}))
    training = experiment.training_on("tiny")
    assert (training.epochs, training.learning_rate, training.batch_size) == (9, 1.0, 8)
    assert isinstance(training.learning_rate, float)


def test_each_modality_gets_its_own_encoder_or_the_common_one():
    experiment = tiny.experiment(
        datasets={"tiny": {"encoder": {"name": "mlp"}, "encoders": {"left": {"name": "cnn", "channels": [2]}}}}
    )
    assert experiment.encoder_of("tiny", "left").parameters == {"channels": [2]}
    assert experiment.encoder_of("tiny", "right").name == "mlp"
    with pytest.raises(TcmaxError, match=r"datasets\.tiny: the modality 'left' has no encoder"):
        tiny.experiment(datasets={"tiny": None}).encoder_of("tiny", "left")


def test_titles_default_to_labels():
    experiment = tiny.experiment(variants={"a": {"method": "joint", "title": "Joint"}, "b": {"method": "joint"}})
    assert [experiment.title(label) for label in "ab"] == ["Joint", "b"]
    assert experiment.dataset_title("tiny") == "tiny"


def test_loading_an_experiment_needs_no_torch():
    code = "import sys; from tcmax.experiment.grid import load; load('quick').cells(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


# --- what a config names and an installation lacks

ABSENT = {"lost-films": {"encoder": {"name": "resnet152"}, "needs": "clips, and an encoder"}}


def test_a_dataset_that_needs_preparation_is_planned_but_not_available(written):
    experiment = load(written(datasets={**tiny.raw()["datasets"], **ABSENT}))
    check_parts(experiment)
    assert experiment.lacking("lost-films") == "clips, and an encoder"
    assert experiment.lacking("tiny") is None
    assert Cell("lost-films", 0, "tcmax") in list(experiment.cells())


def test_needs_says_nothing_once_dataset_and_encoders_are_there(written, monkeypatch):
    path = written(datasets=ABSENT)
    monkeypatch.setitem(DATASETS.entries, "lost-films", Entry("tiny:dataset"))
    assert load(path).lacking("lost-films") == "clips, and an encoder"  # the encoder is still missing
    monkeypatch.setitem(ENCODERS.entries, "resnet152", Entry("tcmax.models.encoders.mlp:MLP"))
    assert load(path).lacking("lost-films") is None


def test_without_needs_an_unknown_dataset_or_encoder_is_a_mistake(written):
    for change, sentence in (
        ({}, "unknown dataset 'lost-films'"),
        ({"features": "f.yaml"}, "unknown encoder 'resnet152'"),
    ):
        with pytest.raises(TcmaxError, match=sentence):
            load(written(datasets={"lost-films": {"encoder": {"name": "resnet152"}, **change}}))


def test_training_settings_are_checked_even_where_the_data_is_not_there(written):
    with pytest.raises(TcmaxError, match=r"datasets\.lost-films\.training\.epochs"):
        load(written(datasets={"lost-films": {**ABSENT["lost-films"], "training": {"epochs": 0}}}))


@pytest.mark.parametrize("trials", [-1, 2.5, "many"])
def test_tuning_trials_are_a_count(written, trials):
    with pytest.raises(TcmaxError, match=r"variants\.a\.tuning_trials"):
        load(written(variants={"a": {"method": "joint", "tuning_trials": trials}}))


def test_the_papers_grid_is_stated_in_full(monkeypatch):
    """Table 1 of the TCMax paper and the released scripts, typed in again (method specification, §1.1)."""
    monkeypatch.chdir(ROOT)
    experiment = load("paper")
    found = {
        name: (training.batch_size, training.epochs, training.learning_rate, training.lr_drop_epochs)
        for name in experiment.settings.datasets
        for training in [experiment.training_on(name)]
    }
    assert found == {
        "crema-d": (32, 200, 1e-3, (170,)),
        "ave": (32, 200, 1e-3, (150,)),
        "kinetics-sounds": (64, 200, 1e-3, (150,)),
        "vggsound": (64, 100, 1e-3, (70,)),
        "ucf101": (32, 400, 1e-3, (300,)),
    }
    with (ROOT / "config/published/tcmax_table1.csv").open() as stream:
        rows = {row["method"] for row in csv.DictReader(stream)}
    assert {experiment.title(variant) for variant in experiment.settings.variants} == rows
    assert len(rows) == 14
    assert len(list(experiment.cells())) * len(experiment.settings.seeds) == 5 * 14 * 3
    assert {variant.fidelity for variant in experiment.settings.variants.values()} == {"release"}
    for name in experiment.settings.datasets:  # what is there after all must not be called missing
        assert (experiment.lacking(name) is None) == (name in DATASETS)
