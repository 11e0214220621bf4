"""Tests mirror the package: `tcmax/room/name.py` is tested by `tests/room/test_name.py`, or the table says where."""

import re

import pytest
from projects import ROOT

# Modules without a test file of their own -> files below tests/ that test what they do.
TESTED_IN = {
    "audit/budgets": ("commands/test_budgets.py",),
    "audit/checks": ("audit/test_published.py", "audit/test_emphasis.py"),
    "audit/components": ("audit/test_claims.py",),
    "audit/findings": ("audit/test_published.py",),
    "audit/judging": ("audit/test_claims.py", "audit/test_influence.py"),
    "audit/sentences": ("audit/test_published.py", "audit/test_paper_claims.py"),
    "commands/analyse": ("workflow/test_workflow.py", "test_cli.py"),
    "commands/doctor": ("test_cli.py",),
    "commands/imports/mapping": ("commands/imports/test_import.py",),
    "commands/imports/runs": ("commands/imports/test_import.py",),
    "commands/imports/write": ("commands/imports/test_import.py",),
    "console": ("test_cli.py", "training/test_jobs.py"),
    "data/media/clip_leakage": ("data/media/test_clips.py", "commands/test_prepare_media.py"),
    "data/media/clip_maker": ("commands/test_prepare_media.py", "data/test_prepare_sets.py"),
    "data/media/sound_crop": ("data/media/test_prepared.py", "training/test_augment.py"),
    "data/mvsa": ("commands/test_prepare_tweets.py",),
    "data/spectrogram": ("data/test_av_digits.py",),
    "data/views": ("training/test_augment.py", "training/test_loading.py"),
    "errors": ("test_cli.py",),
    "evidence/pseudo_values": ("evidence/test_compare.py",),
    "evidence/rows": ("evidence/test_compare.py", "evidence/test_edges.py"),
    "evidence/scoreboard": ("evidence/test_compare.py", "evidence/test_edges.py"),
    "evidence/scores": ("evidence/test_compare.py",),
    "experiment/paths": ("training/test_jobs.py",),
    "experiment/settings": ("experiment/test_grid.py",),
    "experiment/yaml": ("experiment/test_grid.py",),
    "information/arguments": ("information/test_loss_options.py",),
    "information/gather": ("information/test_loss_gather.py",),
    "metrics/validation": ("commands/test_tune.py",),
    "models/axes": ("training/test_side_by_side.py",),
    "models/encoders/base": ("models/encoders/test_encoders.py",),
    "models/encoders/cnn": ("models/encoders/test_encoders.py",),
    "models/encoders/identity": ("models/encoders/test_encoders.py",),
    "models/encoders/linear": ("models/encoders/test_encoders.py",),
    "models/encoders/mlp": ("models/encoders/test_encoders.py",),
    "models/encoders/resnet": ("models/encoders/test_encoders.py",),
    "models/fusion/base": ("models/fusion/test_heads.py",),
    "models/fusion/concat": ("models/fusion/test_heads.py",),
    "models/fusion/film": ("models/fusion/test_nonadditive.py",),
    "models/fusion/gated": ("models/fusion/test_nonadditive.py",),
    "models/fusion/shared_head": ("models/fusion/test_heads.py",),
    "models/fusion/sum": ("models/fusion/test_heads.py",),
    "records/kinds": ("records/test_parquet.py",),
    "records/locks": ("training/test_jobs.py", "data/media/test_store.py", "data/fetching/test_fetch.py"),
    "records/manifests": ("training/test_jobs.py",),
    "report/cards": ("report/test_deciding.py", "report/test_page.py"),
    "report/discrepancies": ("audit/test_discrepancies.py",),
    "report/figures": ("report/test_build.py", "report/test_matrix.py"),
    "report/html": ("report/test_page.py",),
    "report/palette": ("report/test_build.py", "report/test_page.py"),
    "report/published": ("report/test_tables.py",),
    "report/report_records": ("report/test_build.py", "report/test_tables.py"),
    "report/signature": ("report/test_tables.py",),
    "report/suite_figures": ("report/test_suite.py",),
    "report/theory_page": ("commands/test_theory.py",),
    "report/tuning_figures": ("report/test_tuning.py",),
    "report/trust": ("report/test_page.py",),
    "stats/variance": ("stats/test_crossed.py",),
    "training/datasets": ("training/test_jobs.py",),
}
MODULES = sorted(
    re.sub(r"\.py$", "", str(path.relative_to(ROOT / "tcmax")))
    for path in (ROOT / "tcmax").rglob("*.py")
    if path.name != "__init__.py"
)


def mirrored(module: str) -> bool:
    room, _, name = module.rpartition("/")
    return (ROOT / "tests" / room / f"test_{name}.py").is_file()


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_test_file_or_the_table_names_one(module: str) -> None:
    assert mirrored(module) != (module in TESTED_IN), f"{module}: a test file of its own, or a line in TESTED_IN"


def test_the_table_names_what_exists() -> None:
    assert set(TESTED_IN) <= set(MODULES)
    files = {file for named in TESTED_IN.values() for file in named}
    assert [file for file in files if not (ROOT / "tests" / file).is_file()] == []
