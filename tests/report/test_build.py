import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from latex_files import needs_latex
from projects import ROOT
from small_report import DATE, experiment_in, write_records

from tcmax.errors import TcmaxError
from tcmax.experiment.grid import Experiment
from tcmax.report.build import build_report
from tcmax.report.figure import Figure, shared_caption
from tcmax.report.figures import figures, negatives
from tcmax.report.palette import styles
from tcmax.report.report_records import ReportRecords


def contents_of(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_report_holds_what_it_promises(report: Path) -> None:
    names = set(contents_of(report))
    expected = {"report.html", "paper.tex", "tables/numbers.tex"}
    expected |= {f"tables/table{k}.{ending}" for k in (1, 2, 3) for ending in ("csv", "tex")}
    kinds = ("accuracy", "pairwise", "modalities", "divergence", "reliability", "figure4", "selection")
    expected |= {f"figures/{kind}_digits-halves.{e}" for kind in kinds for e in ("pdf", "png", "svg", "csv")}
    expected |= {"figures/figure4_digits-halves_wide.pdf"}
    assert expected <= names


def test_a_second_build_has_the_same_bytes(tmp_path: Path, experiment: Experiment, results: Path, report: Path) -> None:
    """In another process, where hashes and times differ, and at another date of the files."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from small_report import experiment_in, DATE; from tcmax.report.build import build_report\n"
        "root = Path(sys.argv[2]); build_report(experiment_in(root), root / 'results', Path(sys.argv[3]), DATE)"
    )
    out = tmp_path / "again"
    subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "tests" / "support"), str(results.parent), str(out)], check=True
    )
    assert contents_of(out) == contents_of(report)


@needs_latex
def test_the_article_is_compiled(report: Path) -> None:
    assert (report / "paper.pdf").read_bytes().startswith(b"%PDF")
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (Debian: poppler-utils)")
    done = subprocess.run(["pdftotext", report / "paper.pdf", "-"], capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    for words in ("A small experiment", DATE, "TCMax-Concat", "60 test items", "Holm"):
        assert words in text


def test_without_latex_the_report_is_built_and_says_so(
    tmp_path: Path,
    experiment: Experiment,
    results: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("tcmax.report.build.figures", lambda records: [])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    build_report(experiment, results, tmp_path, None)
    assert not (tmp_path / "paper.pdf").exists()
    assert "texlive-latex-recommended" in (tmp_path / "report.html").read_text()
    assert "texlive-latex-recommended" in caplog.text


def test_a_damaged_record_is_an_error_that_names_it(tmp_path: Path, experiment: Experiment, results: Path) -> None:
    shutil.copytree(results, tmp_path / "results")
    (tmp_path / "results" / "small" / "evidence.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(TcmaxError, match=r"evidence\.parquet is damaged"):
        build_report(experiment, tmp_path / "results", tmp_path / "out", None)


def test_a_method_has_one_colour_and_marker_and_its_variants_differ_in_line(tmp_path: Path) -> None:
    variants = {
        "tcmax": {"method": "tcmax", "head": "concat"},
        "tcmax-msh": {"method": "tcmax", "head": "shared-head"},
        "joint": {"method": "joint", "head": "concat"},
        "ogm": {"method": "ogm"},
    }
    wide = styles(experiment_in(tmp_path, variants=variants, reference_variant=None))
    assert wide["tcmax"].colour == wide["tcmax-msh"].colour
    assert wide["tcmax"].marker == wide["tcmax-msh"].marker
    assert wide["tcmax"].line != wide["tcmax-msh"].line
    for style in ("colour", "marker"):
        assert len({getattr(wide[v], style) for v in ("tcmax", "joint", "ogm")}) == 3
    alone = styles(experiment_in(tmp_path, variants={"tcmax": variants["tcmax"]}, reference_variant=None))
    assert alone["tcmax"].colour == wide["tcmax"].colour


def test_figure_3_orders_the_numbers_of_negatives_and_marks_the_complete_set(tmp_path: Path) -> None:
    variants = {f"s-{n}": {"method": "tcmax", "parameters": {"negatives": n}} for n in (16, 4)}
    variants["exact"] = {"method": "tcmax"}
    experiment = experiment_in(tmp_path, variants=variants, reference_variant="exact", claims=None)
    results = write_records(tmp_path, experiment, skill=2.0)
    records = ReportRecords(experiment, results)
    figure = negatives(records, records.datasets[0])
    assert figure is not None
    assert list(figure.data["negatives"]) == [4.0, 16.0, 64.0]  # a batch of 8 in two modalities
    assert list(figure.data["complete"]) == [False, False, True]
    assert not any(other.kind == "figure3" for other in figures(records) if other.name != figure.name)


def test_captions_that_agree_are_said_once() -> None:
    def figure(title: str, caption: str, sizes: str) -> Figure:
        import pandas as pd

        return Figure(f"k_{title}", title, caption, sizes, "", pd.DataFrame(), 1.0, lambda canvas, wide: None)

    same = [figure("A", "What.", "n = 1."), figure("B", "What.", "n = 2.")]
    assert shared_caption(same) == "What. A: n = 1. B: n = 2."
    assert shared_caption(same[:1]) == "What. n = 1."
