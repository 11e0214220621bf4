"""A resolved run: every default filled in, every mistake named, and what the run key sees."""

import pytest
import tiny
import torch

from tcmax.errors import TcmaxError
from tcmax.methods.ogm import OGMParameters
from tcmax.training.spec import check_parts, fill, resolve_run

PROTOCOL_SWITCHES = (
    "protocol.file_order_split",
    "protocol.released_start",
    "protocol.aliased_selection",
    "protocol.flow_never_flipped",
)


def resolve(variant=None, dataset=None, fold=0, **changes):
    variants = {"v": variant or {"method": "joint"}}
    return resolve_run(tiny.experiment(variants=variants, **changes), dataset or tiny.dataset(), "tiny", fold, "v")


def test_defaults_are_filled_in_and_aliases_resolved():
    spec = resolve({"method": "Joint Learning"})
    assert spec.resolved() == {
        "dataset": "tiny",
        "fold": 0,
        "method": {"name": "joint"},
        "head": {"name": "concat"},
        "encoders": {"left": {"name": "mlp", "hidden": (4,)}, "right": {"name": "mlp", "hidden": (4,)}},
        "switches": dict.fromkeys(PROTOCOL_SWITCHES, False),
        "training": {
            "epochs": 4,
            "batch_size": 8,
            "learning_rate": 0.1,
            "momentum": 0.9,
            "weight_decay": 1e-4,
            "lr_drop_epochs": [3],
            "lr_drop_factor": 0.1,
        },
        "precision": "float32",
    }
    assert resolve({"method": "unimodal"}).head[0] == "sum"


def test_a_default_written_out_changes_nothing_and_another_value_does():
    plain = resolve({"method": "ogm"}).resolved()
    assert resolve({"method": "OGM", "head": "Concat", "parameters": {"alpha": 0.8}}).resolved() == plain
    assert resolve({"method": "ogm", "parameters": {"alpha": 0.7}}).resolved() != plain
    assert resolve({"method": "ogm", "title": "OGM", "family": "x"}).resolved() == plain


def test_variants_of_one_seed_share_their_random_root():
    assert resolve({"method": "joint"}).root(3) == resolve({"method": "tcmax"}).root(3) == ("tiny", 0, 3)


MISTAKES = [
    ({"variant": {"method": "joint", "head": {"name": "concat", "width": 3}}}, r"variants\.v\.head: unknown parameter"),
    ({"variant": {"method": "joint", "head": "moebius"}}, r"variants\.v\.head: unknown fusion head 'moebius'"),
    (
        {"variant": {"method": "joint", "switches": {"tcmax.mean_shift": True}}},
        r"tiny\.yaml: variants\.v\.switches: .*which this variant does not use",
    ),
    (
        {"datasets": {"tiny": {"encoder": {"name": "mlp", "hidden": 4}}}},
        r"datasets\.tiny\.encoder\.hidden: input should be a valid tuple \(got 4\)",
    ),
    ({"datasets": {"tiny": {"encoder": {"name": "mlp", "hidden": []}}}}, r"datasets\.tiny\.encoder: hidden must list"),
    (
        {"datasets": {"tiny": {"encoder": {"name": "mlp", "hidden": [True]}}}},
        r"encoder\.hidden\.0: input should be a valid integer \(got True\)",
    ),
    (
        {"datasets": {"tiny": {"encoder": {"name": "mlp"}, "encoders": {"lefft": {"name": "mlp"}}}}},
        r"datasets\.tiny\.encoders: there is no modality 'lefft'; tiny has left, right\.",
    ),
    ({"datasets": {"tiny": {"encoders": {"left": {"name": "mlp"}}}}}, "the modality 'right' has no encoder"),
    ({"fold": 1}, r"tiny has folds 0\.\.0, not 1\."),
    ({"fold": -1}, r"tiny has folds 0\.\.0, not -1\."),
]


@pytest.mark.parametrize(("changes", "sentence"), MISTAKES, ids=[sentence for _, sentence in MISTAKES])
def test_a_mistake_is_named_with_its_key(changes, sentence):
    with pytest.raises(TcmaxError, match=sentence):
        resolve(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"datasets": {"tiny": {"encoder": {"name": "cnn"}}}},
            "tiny: encoder 'cnn' of 'left' needs inputs .*, not \\(3,\\)",
        ),
        (
            {
                "variant": {"method": "joint", "head": "shared-head"},
                "datasets": {
                    "tiny": {"encoder": {"name": "mlp"}, "encoders": {"left": {"name": "mlp", "hidden": [3]}}}
                },
            },
            "variant 'v' on tiny: the shared head needs equal feature widths",
        ),
    ],
)
def test_parts_that_do_not_fit_the_data_are_named(changes, sentence):
    spec = resolve(**changes)
    with pytest.raises(TcmaxError, match=sentence):
        spec.build_model(tiny.dataset(), 0)


def test_every_part_of_every_variant_is_checked_before_any_job():
    variants = {"good": {"method": "joint"}, "bad": {"method": "ogm", "parameters": {"alpa": 1}}}
    with pytest.raises(TcmaxError, match=r"variants\.bad\.parameters: unknown parameter 'alpa'; known: alpha"):
        check_parts(tiny.experiment(variants=variants))
    encoder = {"name": "mlp", "hidden": "4"}
    with pytest.raises(TcmaxError, match=r"datasets\.tiny\.encoder\.hidden"):
        check_parts(tiny.experiment(datasets={"tiny": {"encoders": {"left": encoder}}}))


def test_a_whole_number_may_stand_for_a_real_one_and_nothing_else_is_converted():
    filled = fill(OGMParameters, {"alpha": 1, "last_epoch": None}, "here")
    assert (filled.alpha, type(filled.alpha), filled.last_epoch) == (1.0, float, None)
    for bad in ({"alpha": True}, {"alpha": "1"}, {"first_epoch": 1.0}, {"first_epoch": None}, {"ratio": 3}):
        with pytest.raises(TcmaxError, match=r"here\.\w+: input should be "):
            fill(OGMParameters, bad, "here")


def test_the_method_knows_the_task():
    dataset = tiny.dataset(n_classes=5)
    setting = resolve().build_method(dataset).setting
    labels = dataset.labels[dataset.folds[0].train].tolist()
    assert setting.class_counts.tolist() == [labels.count(index) for index in range(5)]
    assert (setting.n_train, setting.epochs, setting.modalities) == (26, 4, ("left", "right"))


def test_building_a_model_leaves_the_global_generator_untouched():
    before = torch.get_rng_state()
    resolve().build_model(tiny.dataset(), 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_parameter_that_is_no_finite_number_is_refused_before_training(value):
    with pytest.raises(
        TcmaxError, match=r"variants\.v\.parameters\.alpha: input should be a finite number \(got -?(nan|inf)\)"
    ):
        check_parts(tiny.experiment(variants={"v": {"method": "ogm", "parameters": {"alpha": value}}}))
