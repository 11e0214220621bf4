"""LaTeX: escaping, the template environment, numbers as macros, and the compiler when there is one.

Everything that a template prints is escaped unless it is `Latex`, which only code of this package makes.
"""

import os
import re
import shutil
import subprocess
import tempfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from tcmax.records.files import write_bytes

PACKAGE = "texlive-latex-recommended"


class Latex(str):
    """Text that is LaTeX already."""

    __slots__ = ()


# Letters that TeX gives a meaning, and characters that the OT1 fonts of a plain article lack.
_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "''",
    "`": "{`}",
    "−": r"$-$",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "∞": r"$\infty$",
    "√": r"$\surd$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    "²": r"$^2$",
    "³": r"$^3$",
    "\u00a0": "~",
    "\u202f": r"\,",
    "\u200b": "{}",  # between two hyphens, so that they do not become a dash
    "ß": r"\ss{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "epsilon",
    "θ": "theta",
    "κ": "kappa",
    "λ": "lambda",
    "μ": "mu",
    "µ": "mu",
    "ν": "nu",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
    "φ": "phi",
    "χ": "chi",
    "ω": "omega",
    "Δ": "Delta",
    "Σ": "Sigma",
    "Ω": "Omega",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u0304": "=",
    "\u0307": ".",
    "\u030a": "r",
    "\u030c": "v",
    "\u0327": "c",
    "\u030b": "H",
    "\u0306": "u",
}


def escape(value: Any) -> Latex:
    """Any text as LaTeX that compiles in a plain article; `Latex` passes as it is.

    Characters that no standard font has become their code point, such as [U+4E2D].
    """
    if isinstance(value, Latex):
        return value
    text = re.sub(r"[ \t\r\n\f\v]+", " ", str(value)).strip()  # an empty line ends a paragraph, in a table an error
    text = unicodedata.normalize("NFC", text).replace("--", "-\u200b-").replace("--", "-\u200b-")
    return Latex("".join(_character(c) for c in text))


def _character(c: str) -> str:
    if c in _TEX:
        return _TEX[c]
    if " " <= c <= "~":
        return c
    if c in _GREEK:
        return f"$\\{_GREEK[c]}$"
    parts = unicodedata.normalize("NFD", c)
    base, marks = parts[0], parts[1:]
    if len(marks) == 1 and marks in _ACCENTS and base.isascii() and base.isalpha():
        return f"\\{_ACCENTS[marks]}{{{base}}}"
    return f"[U+{ord(c):04X}]"


def environment() -> jinja2.Environment:
    r"""Templates with \VAR{...}, \BLOCK{...} and %% comments; what they print is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("tcmax.report", "templates"),
        block_start_string=r"\BLOCK{",
        block_end_string="}",
        variable_start_string=r"\VAR{",
        variable_end_string="}",
        comment_start_string=r"\COMMENT{",
        comment_end_string="}",
        line_comment_prefix="%%",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        finalize=escape,
    )
    made.filters["one_line"] = lambda text: Latex(
        " ".join(str(text).split())
    )  # for comments, which end with their line
    made.filters["name"] = Latex  # of a file or label: letters, digits and . _ - only
    return made


def macros(numbers: Mapping[str, str]) -> str:
    r"""numbers.tex: \tcmaxnumber{key} prints a number of this report, and stops LaTeX when there is no such number."""
    lines = [
        "% Every number of the report by name: \\input{tables/numbers}, then \\tcmaxnumber{<key>}.",
        "% A key that the report no longer has is an error, so that an article cannot state a stale number.",
        "\\makeatletter",
        "\\providecommand{\\tcmaxnumber}[1]{\\@ifundefined{tcmax@#1}{\\GenericError{}{tables/numbers.tex has no '#1'}"
        "{Build the report again, or correct the key.}{}\\textbf{??}}{\\csname tcmax@#1\\endcsname}}",
    ]
    for key, text in numbers.items():
        lines.append(f"\\expandafter\\def\\csname tcmax@{macro_key(key)}\\endcsname{{{escape(text)}}}")
    return "\n".join([*lines, "\\makeatother", ""])


def macro_key(key: str) -> str:
    """A key that is safe inside \\csname: letters, digits and . _ - / : only."""
    return re.sub(r"[^A-Za-z0-9._/:-]", "-", key)


def compile_pdf(source: Path, epoch: int) -> str | None:
    """Compile `source` beside itself with pdflatex, to equal bytes for equal input and `epoch` (seconds since 1970).

    Returns None when the PDF is there, else the sentence that says why not: no LaTeX here, or what LaTeX said.
    """
    target = source.with_suffix(".pdf")
    compiler = shutil.which("pdflatex")
    if compiler is None:
        target.unlink(missing_ok=True)
        return f"no {target.name}: pdflatex is not installed (Debian and Ubuntu: apt-get install {PACKAGE})."
    variables = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "FORCE_SOURCE_DATE": "1", "max_print_line": "1000"}
    with tempfile.TemporaryDirectory() as folder:
        command = [compiler, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape"]
        command += [f"-output-directory={folder}", source.name]
        for _ in range(2):  # the second pass knows the references
            done = subprocess.run(
                command, cwd=source.parent, env=variables, capture_output=True, text=True, errors="replace", check=False
            )
            if done.returncode:
                return f"no {target.name}: {_reason(done.stdout)}"
        write_bytes(target, (Path(folder) / target.name).read_bytes())
    return None


def _reason(log: str) -> str:
    """What LaTeX complained about, with the package that would help where a file is missing."""
    missing = re.search(r"File `([^']+)' not found", log)
    if missing:
        return (
            f"LaTeX has no {missing[1]}; apt-get install {PACKAGE} brings what the article needs (Debian and Ubuntu)."
        )
    complaint = next((line[2:] for line in log.splitlines() if line.startswith("! ")), "LaTeX stopped without a reason")
    return f"LaTeX says: {complaint.rstrip('.')}."
