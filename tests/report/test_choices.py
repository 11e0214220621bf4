from pathlib import Path

from tcmax.experiment.grid import Experiment
from tcmax.records import kinds, parquet
from tcmax.report.choices import choices
from tcmax.report.report_records import ReportRecords
from tcmax.report.tables import numbers


def test_claims_are_shown_under_other_choices(experiment: Experiment, results: Path) -> None:
    records = ReportRecords(experiment, results)
    (block,) = choices(records).blocks
    assert [row.note for row in block.rows] == ["tcmax-beats-joint", "tcmax-highest"]
    assert records.verdicts is not None
    verdicts = records.verdicts.set_index("claim")
    record = parquet.read(results / "small" / "multiverse.parquet", kinds.MULTIVERSE).to_pandas()
    for row in block.rows:
        mine = record[(record["claim"] == row.note) & (record["choice"] == "alpha")]
        whole = verdicts.loc[row.note, "verdict"]
        assert (row.label, row.cells[0].text) == (verdicts.loc[row.note, "text"], whole)
        assert row.cells[1].text == f"{(mine['verdict'] == whole).sum()} of {len(mine)}"
    made = numbers([choices(records)])
    assert made["choices/tcmax-highest/of"] == block.rows[1].cells[1].text.partition(" of ")[2]


def test_without_the_record_nothing_is_shown_and_the_command_is_named(experiment: Experiment, tmp_path: Path) -> None:
    records = ReportRecords(experiment, tmp_path)
    assert choices(records).empty
    assert any(missing.command == "tcmax audit multiverse small" for missing in records.missing)
