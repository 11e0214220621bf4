"""`tcmax audit diff A B`: which verdicts changed between two audits, and whether the claims or the numbers did.

An audit is a VERDICTS record, a folder that holds one (results/<experiment>), or the JSON of `tcmax audit paper`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tcmax.errors import TcmaxError
from tcmax.records import kinds, parquet
from tcmax.records.files import read_json

Change = Literal["flip", "new seeds only", "added", "removed"]
FILE = "verdicts.parquet"
# What is compared: an earlier audit may lack other columns.
COLUMNS = ("claim", "text", "verdict", "verdict_seeds", "estimate", "low", "high", "claims_sha256")


@dataclass(frozen=True)
class Answers:
    """What an audit says of one claim.

    answers: question -> answer, the claim's own question last. estimate: shown beside a flip; None where there is none.
    """

    text: str
    answers: dict[str, str]
    estimate: str | None = None


@dataclass(frozen=True)
class Audit:
    """The answers of one audit by claim, and the hash of its claims file."""

    path: Path
    claims_sha256: str
    claims: dict[str, Answers]


@dataclass(frozen=True)
class Difference:
    """One claim on which two audits differ.

    before, after: "question: answer" of what changed, then the estimate; reworded: the sentence changed as well.
    """

    claim: str
    change: Change
    before: tuple[str, ...]
    after: tuple[str, ...]
    reworded: bool = False


@dataclass(frozen=True)
class Comparison:
    """Two audits and their differences, in the order of the first audit, then of the second."""

    a: Audit
    b: Audit
    differences: tuple[Difference, ...]

    @property
    def same_claims_file(self) -> bool:
        """Whether both audits judged the same claims file, byte by byte."""
        return self.a.claims_sha256 == self.b.claims_sha256


def read_audit(path: Path) -> Audit:
    """Read an audit; TcmaxError names the file when there is none, or it holds something else."""
    path = Path(path)
    if path.is_dir():
        path = path / FILE
    if not path.is_file():
        raise TcmaxError(f"{path} does not exist; `tcmax audit claims` writes it.")
    return _of_paper(path) if path.suffix == ".json" else _of_runs(path)


def _of_runs(path: Path) -> Audit:
    found = parquet.read(path, kinds.VERDICTS, columns=COLUMNS)
    if found.column_names != list(COLUMNS):
        missing = next(name for name in COLUMNS if name not in found.column_names)
        raise TcmaxError(f"{path}: the column {missing!r} is missing.")
    table = found.to_pylist()
    hashes = {row["claims_sha256"] for row in table}
    if len(hashes) > 1:
        raise TcmaxError(f"{path} mixes verdicts of {len(hashes)} claims files; run the audit again.")
    claims = {}
    for row in table:
        answers = {"new seeds": row["verdict_seeds"]} if row["verdict_seeds"] is not None else {}
        number = None if row["estimate"] is None else f"{row['estimate']:+.4g}"
        if number is not None and row["low"] is not None:
            number += f" [{row['low']:+.4g}, {row['high']:+.4g}]"
        claims[row["claim"]] = Answers(row["text"], {**answers, "verdict": row["verdict"]}, number)
    return Audit(path, next(iter(hashes), ""), claims)


def _of_paper(path: Path) -> Audit:
    content = read_json(path)
    try:
        claims = {
            verdict["claim"]: Answers(
                verdict["text"],
                {
                    "new seeds": verdict["verdict_seeds"],
                    "new seeds and items": verdict["verdict"],
                    "printed table": verdict["printed"] or "not in print",
                },
                verdict["deciding"],
            )
            for verdict in content["verdicts"]
        }
        return Audit(path, content["claims_sha256"], claims)
    except (KeyError, TypeError) as error:
        raise TcmaxError(
            f"{path} is not the JSON of `tcmax audit paper` ({error} is missing or of another type)."
        ) from None


def compare_audits(a: Audit, b: Audit) -> Comparison:
    """The claims on which two audits differ. A claim whose own answer stays and that of new seeds changes is told apart
    from a flip."""
    found = []
    for claim in dict.fromkeys((*a.claims, *b.claims)):
        before, after = a.claims.get(claim), b.claims.get(claim)
        if before is None or after is None:
            present = after or before
            assert present is not None
            words = tuple(f"{question}: {answer}" for question, answer in present.answers.items())
            added = before is None
            found.append(
                Difference(claim, "added" if added else "removed", () if added else words, words if added else ())
            )
            continue
        questions = [
            q for q in dict.fromkeys((*before.answers, *after.answers)) if before.answers.get(q) != after.answers.get(q)
        ]
        if not questions:
            continue
        own = list(before.answers)[-1], list(after.answers)[-1]
        found.append(
            Difference(
                claim,
                "flip" if set(own) & set(questions) else "new seeds only",
                _words(before, questions),
                _words(after, questions),
                before.text != after.text,
            )
        )
    return Comparison(a, b, tuple(found))


def _words(answers: Answers, questions: list[str]) -> tuple[str, ...]:
    shown = [f"{question}: {answers.answers.get(question, 'none')}" for question in questions]
    return (*shown, answers.estimate) if answers.estimate is not None else tuple(shown)


def diff(a: Path, b: Path) -> Comparison:
    """Compare the audits at two places."""
    return compare_audits(read_audit(a), read_audit(b))


def to_text(comparison: Comparison) -> str:
    """Differences as lines, then how many claims stayed, then whether the claims file is the same."""
    lines = []
    for difference in comparison.differences:
        head = f"{difference.claim}: {difference.change}"
        lines.append(f"{head} (the sentence of the claim changed too)" if difference.reworded else head)
        lines += [f"  - {word}" for word in difference.before]
        lines += [f"  + {word}" for word in difference.after]
    a, b = comparison.a, comparison.b
    both = sum(claim in b.claims for claim in a.claims)
    changed = sum(difference.change in ("flip", "new seeds only") for difference in comparison.differences)
    lines.append(f"{both - changed} of {both} claims in both audits have the same answers.")
    if comparison.same_claims_file:
        lines.append(f"claims file: the same ({a.claims_sha256[:16]}).")
    else:
        lines.append(f"claims file: changed ({a.claims_sha256[:16]} to {b.claims_sha256[:16]}).")
    return "\n".join(lines) + "\n"
