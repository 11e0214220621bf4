import base64
import hashlib
import itertools
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from small_report import CLAIMS, VARIANTS, experiment_in, write_records

from tcmax.experiment.grid import Experiment
from tcmax.experiment.tuning import in_words
from tcmax.records import arithmetic, kinds, parquet, provenance
from tcmax.records.files import write_json
from tcmax.report.build import build_report
from tcmax.report.cards import cards, headline, tally
from tcmax.report.report_records import ReportRecords
from tcmax.report.trust import trust

HOSTILE = "<script>alert(1)</script> & \"q\" 'a' $x$ \\input{/etc/passwd} 100% {{ 7*7 }}"


class Page(HTMLParser):
    """Tags with their attributes, identifiers, and the text that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        (self.scripts if self._inside == "script" else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html(report: Path) -> str:
    return (report / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture
def without_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcmax.report.build.figures", lambda records: [])
    monkeypatch.setattr(shutil, "which", lambda name: None)


def test_the_page_refers_to_nothing_outside(html: str, page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            if value is not None:
                assert re.match(r"#|data:|figures/[\w.-]+\.pdf$|paper\.pdf$", value), (tag, name, value[:80])
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    assert len(html.encode()) < 5_000_000


def test_the_policy_allows_the_page_s_own_script_and_nothing_else(page: Page) -> None:
    policy = next(a["content"] or "" for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_identifiers_are_unique_and_every_reference_has_its_target(page: Page) -> None:
    found = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(found) == len(set(found))
    for _, attributes in page.tags:
        for name in ("href", "xlink:href"):
            value = attributes.get(name) or ""
            if value.startswith("#"):
                assert value[1:] in found
        for name in ("aria-labelledby", "aria-describedby"):
            for identifier in (attributes.get(name) or "").split():
                assert identifier in found
        for clip in re.findall(r"url\(#([^)]+)\)", " ".join(filter(None, attributes.values()))):
            assert clip in found


def test_every_drawing_has_words_for_those_who_cannot_see_it(page: Page) -> None:
    drawings = [attributes for tag, attributes in page.tags if tag == "svg" and "aria-hidden" not in attributes]
    assert len(drawings) > 5
    assert all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in drawings)


def test_headings_descend_one_level_at_a_time(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_drawings_take_their_colours_from_the_page(html: str, report: Path) -> None:
    body = html[html.index("<main") :]
    drawings = re.findall(r"<svg.*?</svg>", body, flags=re.DOTALL)
    assert not any(re.search(r"(?:fill|stroke): #", drawing) for drawing in drawings)
    assert "fill: #" in (report / "figures" / "accuracy_digits-halves.svg").read_text()  # but the file stands alone


def test_tables_come_with_their_csv_and_latex(page: Page, report: Path) -> None:
    links = {a["download"]: a["href"] or "" for t, a in page.tags if t == "a" and a.get("download")}
    for name in ("verdicts", "table1", "table2", "table3", "comparisons", "selection"):
        for ending in ("csv", "tex"):
            content = base64.b64decode(links[f"{name}.{ending}"].partition("base64,")[2])
            assert content == (report / "tables" / f"{name}.{ending}").read_bytes()


def test_the_headline_is_the_verdict_on_the_first_claim(experiment: Experiment, results: Path, page: Page) -> None:
    records = ReportRecords(experiment, results)
    made = cards(records)
    sentence = headline(made, in_words(experiment))
    assert sentence.startswith(
        "“TCMax outperforms joint learning” is supported: TCMax-Concat − Joint-Concat on Halves +"
    )
    assert "(4 seeds, 60 test items, new seeds and new test items; one learning rate for all, untuned)" in sentence
    assert sentence in page.text
    assert sum(tally(made).values()) == len(made) == 3


def test_cards_show_both_populations_and_all_components(experiment: Experiment, results: Path) -> None:
    first, second, third = cards(ReportRecords(experiment, results))
    assert first.verdict == "supported"
    assert first.verdict_seeds == "supported"
    assert first.plot is not None
    assert first.plot.marks[0].low > first.plot.margins[0]  # the whole interval lies right of the margin
    assert second.components is not None
    assert [mark.name for mark in second.components.marks] == [
        "Halves: TCMax-Concat − Joint-Concat",
        "Halves: TCMax-Concat − Unimodal ensemble",
    ]
    assert sum(mark.decides for mark in second.components.marks) == 1
    assert first.influence == "stays whichever of 4 seeds leaves"
    assert third.influence == ""
    assert third.plot is None
    assert third.reason == "No number can contradict it."


def test_hostile_names_are_text_everywhere(build: Callable[..., Path], without_drawing: None) -> None:
    variants = {**VARIANTS, "tcmax": {**VARIANTS["tcmax"], "title": HOSTILE}}
    claims = [{**CLAIMS[0], "text": HOSTILE, "source": {"document": HOSTILE, "section": HOSTILE}}]
    out = build(claims=claims, title=HOSTILE, variants=variants, datasets={"digits-halves": {"title": HOSTILE}})
    html = (out / "report.html").read_text()
    found = Page(html)
    assert len(found.scripts) == 1
    assert HOSTILE.strip() in found.text
    assert "<script>alert" not in html
    assert "49" not in found.text.split(HOSTILE)[0]
    for path in (out / "paper.tex", *(out / "tables").glob("*.tex")):
        code = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("%"))
        assert "\\input{/etc" not in code


def test_without_any_record_the_page_says_what_is_missing_and_how_to_make_it(
    tmp_path: Path, without_drawing: None
) -> None:
    build_report(experiment_in(tmp_path), tmp_path / "results", tmp_path / "out", None)
    text = Page((tmp_path / "out" / "report.html").read_text()).text
    for expected in (
        "No verdicts yet.",
        "No accuracies yet.",
        "No comparisons yet.",
        "No training curves yet.",
        "tcmax audit claims small",
        "tcmax compare small",
        "tcmax score small --dataset digits-halves",
        "tcmax prepare digits-halves --experiment small",
    ):
        assert expected in text
    assert "(no runs)" in (tmp_path / "out" / "tables" / "table1.tex").read_text()


def test_an_experiment_without_claims_is_told_how_to_add_some(
    tmp_path: Path, results: Path, without_drawing: None
) -> None:
    build_report(experiment_in(tmp_path, claims=None), results, tmp_path / "out", None)
    text = Page((tmp_path / "out" / "report.html").read_text()).text
    assert "docs/add-a-claim.md" in text
    assert "No verdicts yet." not in text
    assert "Table 1" in text


def test_diverged_runs_are_counted_and_named(build: Callable[..., Path], without_drawing: None) -> None:
    out = build(runs={"diverged": {("joint", 2), *(("tcmax", seed) for seed in range(4))}})
    text = Page((out / "report.html").read_text()).text
    assert "Joint-Concat (1 of 4 diverged)" in text
    assert "TCMax-Concat (4 of 4 diverged)" in text
    assert "Joint-Concat: seed 2" in text
    assert "TCMax-Concat: seeds 0, 1, 2 and 3" in text
    assert "3 to 4 seeds" in text.replace("\u00a0", " ")


def test_seeds_that_were_never_run_are_named(build: Callable[..., Path], without_drawing: None) -> None:
    out = build(runs={"seeds": [0, 1, 3]}, claims=CLAIMS[2:])
    assert (
        "Joint-Concat: seed 2; Unimodal ensemble: seed 2; TCMax-Concat: seed 2"
        in Page((out / "report.html").read_text()).text
    )


def test_a_claims_file_that_changed_since_it_was_judged_is_pointed_out(
    tmp_path: Path, results: Path, root: Path, without_drawing: None
) -> None:
    shutil.copytree(root / "config", tmp_path / "config")
    claims = tmp_path / "config" / "claims" / "small.yaml"
    build_report(experiment_in(tmp_path), results, tmp_path / "before", None)
    claims.write_text(claims.read_text() + "# a comment\n")
    build_report(experiment_in(tmp_path), results, tmp_path / "after", None)
    said = "The file has changed since it was judged"
    assert said not in (tmp_path / "before" / "report.html").read_text()
    assert said in (tmp_path / "after" / "report.html").read_text()


def test_methods_are_held_against_themselves(tmp_path: Path) -> None:
    changed = experiment_in(tmp_path, seeds=list(range(6)), claims=None)
    results = write_records(tmp_path, changed, seeds=changed.settings.seeds)
    path = results / "small" / "evidence.parquet"
    header = parquet.header(path)["self_comparisons"]["digits-halves"]
    assert {counts["halvings"] for counts in header.values()} == {10}
    first = trust(ReportRecords(changed, results)).self_control[0]
    apart = sum(counts["told_apart"] for counts in header.values())
    assert f"told apart in {apart} of 30 halvings ({100 * apart / 30:.1f} %, 5 % allowed; accuracy, new seeds" in first
    columns = parquet.read(path, kinds.EVIDENCE).to_pydict()
    counts = {"joint": 1, "tcmax": 3, "unimodal": 0}
    control = {v: {"halvings": 10, "told_apart": k, "alpha": 0.05} for v, k in counts.items()}
    parquet.write(path, kinds.EVIDENCE, columns, {"self_comparisons": {"digits-halves": control}})
    first, second = trust(ReportRecords(changed, results)).self_control
    assert "told apart in 4 of 30 halvings (13.3 %, 5 % allowed; " in first
    assert second == "Most often TCMax-Concat on Halves: 3 of 10; halvings of one method share its runs."


def test_the_arithmetic_of_runs_and_analysis_is_shown(tmp_path: Path) -> None:
    changed = experiment_in(tmp_path, claims=None)
    results = write_records(tmp_path, changed)
    evidence = results / "small" / "evidence.parquet"
    provenance.write_stage(evidence, "compare", "tcmax.stats.crossed", [], {})
    for seed, mode in enumerate(("portable-1", "portable-1", "native 77")):
        recorded = {"mode": mode, "paths": {"torch": "AVX2"}, "probe": "77"}
        folder = results / "small" / "digits-halves" / "fold_0" / "joint" / f"seed_{seed}"
        write_json(folder / "sidecar.json", {"arithmetic": recorded})
    analysed = provenance.read_sidecar(evidence)
    assert analysed is not None
    assert trust(ReportRecords(changed, results)).arithmetic == (
        "Arithmetic of the runs: portable-1 (torch AVX2; probe 77) (2 runs)",
        "Arithmetic of the runs: native 77 (torch AVX2; probe 77) (1 run)",
        f"Arithmetic of the analysis: {arithmetic.described(analysed['arithmetic'])}",
    )
    build_report(changed, results, tmp_path / "report", None)
    assert "native 77 (torch AVX2; probe 77) (1 run)" in (tmp_path / "report" / "report.html").read_text()
