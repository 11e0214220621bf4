from pathlib import Path

import pytest
from latex_files import needs_latex, pdf_text

from tcmax.report.latex import Latex, compile_pdf, escape, macro_key, macros

HOSTILE = (
    r"\input{/etc/passwd} $x^2$ 100% #1 a_b & {c} ~ ^ <b> | \"q\" `t` -- --- ---- 'n' "
    "äöüßéñçŁøÆ αβρΔ −±×≤≥ “x” ‘y’ … 中文 \U0001f600 \u202e n̈\tnew\n\nline"
)


def test_every_special_character_of_tex_is_escaped() -> None:
    assert escape(r"a_b & 100% $5 #1 {x} \y ~ ^") == (
        r"a\_b \& 100\% \$5 \#1 \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{}"
    )


def test_what_is_latex_already_passes() -> None:
    assert escape(Latex(r"\textbf{x}")) == r"\textbf{x}"


@needs_latex
def test_hostile_text_compiles_and_is_printed_not_executed(tmp_path: Path) -> None:
    text = pdf_text(tmp_path, escape(HOSTILE))
    assert "root:" not in text
    # the underscore of these fonts is a rule, which pdftotext does not see
    for expected in (r"\input{/etc/passwd}", "100% #1 a b & {c}", "[U+4E2D]", "[U+1F600]", "new line"):
        assert expected in " ".join(text.split())


@needs_latex
def test_hyphens_of_a_name_do_not_become_a_dash(tmp_path: Path) -> None:
    assert "a--b" in pdf_text(tmp_path, escape("a--b"))


@needs_latex
def test_a_number_is_printed_by_its_name_and_a_stale_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "numbers.tex").write_text(macros({"accuracy/a_b/x%y": "94.0", "p": "< 0.0001"}), encoding="utf-8")
    body = "\\input{numbers}\\tcmaxnumber{accuracy/a_b/x-y} \\tcmaxnumber{p}"
    assert "94.0 < 0.0001" in " ".join(pdf_text(tmp_path, body).split())
    with pytest.raises(AssertionError, match="has no 'gone'"):
        pdf_text(tmp_path, "\\input{numbers}\\tcmaxnumber{gone}")


def test_keys_hold_nothing_that_tex_would_read() -> None:
    assert macro_key(r"a b%\{}#~^&$_.-/:9") == "a-b---------_.-/:9"


def test_without_latex_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "paper.pdf").write_bytes(b"stale")
    said = compile_pdf(tmp_path / "paper.tex", 0)
    assert said is not None
    assert "texlive-latex-recommended" in said
    assert not (tmp_path / "paper.pdf").exists()


@needs_latex
def test_what_latex_complains_about_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "paper.tex").write_text("\\documentclass{article}\\begin{document}\\nonsense\\end{document}")
    said = compile_pdf(tmp_path / "paper.tex", 0)
    assert said == "no paper.pdf: LaTeX says: Undefined control sequence."
    (tmp_path / "paper.tex").write_text("\\documentclass{article}\\usepackage{no-such}\\begin{document}\\end{document}")
    assert "no-such.sty" in (compile_pdf(tmp_path / "paper.tex", 0) or "")
