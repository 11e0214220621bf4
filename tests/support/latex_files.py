"""LaTeX as the tests run it, where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="pdflatex is not installed (Debian: texlive-latex-recommended)"
)


def pdf_text(folder: Path, body: str, packages: str = "booktabs") -> str:
    """Text of an article with this body, as pdflatex and pdftotext see it; fails on any error of LaTeX."""
    source = folder / "article.tex"
    head = f"\\documentclass{{article}}\\usepackage{{{packages}}}\\begin{{document}}"
    source.write_text(f"{head}\n{body}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed (Debian: poppler-utils)")
    return subprocess.run(
        ["pdftotext", "article.pdf", "-"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
