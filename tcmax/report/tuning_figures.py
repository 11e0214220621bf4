"""Figures of tuning: what more trials find, and whether verdicts depend on the budget."""

from tcmax.report.figure import Canvas, Figure
from tcmax.report.numbers import count
from tcmax.report.palette import INK, MUTED, styles
from tcmax.report.report_records import DatasetRecords, ReportRecords
from tcmax.report.tuning import budgets, curves

MARKS = {"supported": "^", "contradicted": "v", "undetermined": "o", "not testable": "x"}


def search(records: ReportRecords, dataset: DatasetRecords) -> Figure | None:
    """Test score of what a random search of so many trials chooses, by variant; None where there is none."""
    table = curves(records)
    if table is None or table.data.empty:
        return None
    data = table.data[table.data["dataset"] == dataset.id].reset_index(drop=True)
    if data["trials"].nunique() < 2:
        return None
    look, percent = styles(records.experiment), data["test"].abs().max() <= 1
    shares = dict(iter(data.groupby("variant", sort=False)))
    scale = 100 if percent else 1

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        for variant, rows in shares.items():
            style = look[str(variant)]
            title = records.experiment.title(str(variant))
            axes.plot(rows["trials"], scale * rows["test"], style.marker, ls="-", color=style.colour, label=title)
        axes.set_xscale("log", base=2)
        ticks = sorted(set(data["trials"]))
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.minorticks_off()
        axes.set_xlabel("trials of a search (log scale)")
        axes.set_ylabel("test score (%)" if percent else "test score")
        canvas.legend(loc="outside lower center", ncols=2)

    last = data[data["trials"] == data["trials"].max()]
    return Figure(
        name=f"search_{dataset.id}",
        title=dataset.title,
        caption=table.caption,
        sizes=f"{count(data['trials'].max(), 'trial')} of each variant and search",
        alt="Test score by number of trials; after all: "
        + ", ".join(f"{records.experiment.title(r['variant'])} {scale * r['test']:.1f}" for _, r in last.iterrows())
        + ".",
        data=data,
        height=2.6,
        draw=draw,
    )


def stability(records: ReportRecords) -> Figure | None:
    """The verdict of each claim at every tuning budget; None where only one was judged."""
    table = budgets(records)
    if table is None or table.data.empty or table.data["trials"].nunique() < 2:
        return None
    data = table.data
    claims, asked = list(dict.fromkeys(data["claim"])), sorted(set(data["trials"]))

    def draw(canvas: Canvas, wide: bool) -> None:
        axes = canvas.subplots()
        for word, mark in MARKS.items():
            chosen = data[data["verdict"] == word]
            places = [asked.index(trials) for trials in chosen["trials"]]
            heights = [claims.index(claim) for claim in chosen["claim"]]
            colour = MUTED if word == "not testable" else INK
            face = colour if word in ("supported", "contradicted") else "none"
            axes.plot(places, heights, mark, ls="", ms=4, color=colour, markerfacecolor=face, label=word)
        axes.set_xticks(range(len(asked)), ["untuned" if trials == 0 else str(trials) for trials in asked])
        axes.set_yticks(range(len(claims)), claims, fontsize=6)
        axes.invert_yaxis()
        axes.set_xlabel("trials of each variant")
        canvas.legend(loc="outside lower center", ncols=2)

    stays = data.drop_duplicates("claim").set_index("claim")["stays_from"]
    return Figure(
        name="stability",
        title="",
        caption=table.caption,
        sizes=f"{count(len(claims), 'claim')} at {count(len(asked), 'budget')}",
        alt="Verdicts by budget; the same from: " + ", ".join(f"{c} {int(k)} trials" for c, k in stays.items()) + ".",
        data=data,
        height=0.9 + 0.16 * len(claims),
        draw=draw,
    )
