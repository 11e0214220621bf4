"""The article holds everything: no float is taller than a page."""

import pandas as pd

from tcmax.report.figure import Figure
from tcmax.report.paper import arranged

PAGE = 9.25  # inches of text
TITLE_AND_CAPTION = 0.25 + 1.2


def figure(name: str, height: float, wide_height: float | None = None) -> Figure:
    return Figure(name, name, "", "", "", pd.DataFrame(), height, lambda canvas, wide: None, wide_height)


def names(figures: list[Figure]) -> list[list[list[str]]]:
    return [[[panel.figure.name for panel in row] for row in rows] for rows in arranged(figures)]


def test_low_figures_share_a_float_of_two_columns_and_at_most_four() -> None:
    assert names([figure(name, 2.0) for name in "abcde"]) == [[["a", "b"], ["c", "d"]], [["e"]]]
    assert names([figure(name, 2.0) for name in "abc"]) == [[["a", "b"], ["c"]]]
    assert names([]) == []


def test_rows_that_a_page_does_not_hold_go_into_another_float() -> None:
    assert names([figure(name, 5.0) for name in "abc"]) == [[["a", "b"]], [["c"]]]
    assert names([figure("a", 1.0), figure("b", 6.0), figure("c", 2.0)]) == [[["a", "b"]], [["c"]]]


def test_a_figure_taller_than_a_page_is_shown_wide_or_smaller() -> None:
    ((wide,),), ((small,),) = arranged([figure("tall", 11.0, 5.5), figure("taller", 12.0)])
    assert (wide.graphic, wide.width) == (r"\includegraphics{figures/tall_wide.pdf}", 6.75)
    assert (small.graphic, small.width) == (r"\includegraphics[height=7.75in]{figures/taller.pdf}", 3.25)
    assert arranged([figure("low", 2.0, 1.0)])[0][0][0].graphic == r"\includegraphics{figures/low.pdf}"


def test_a_wide_figure_stands_in_a_row_by_itself() -> None:
    assert names([figure("a", 2.0), figure("wide", 9.0, 1.0), figure("b", 2.0)]) == [[["a"], ["wide"], ["b"]]]


def test_every_float_fits_on_a_page_in_the_order_given() -> None:
    figures = [figure(str(k), height, wide) for k, (height, wide) in enumerate([(1, None), (9, 3), (5, 2), (8, 9)] * 3)]
    floats = arranged(figures)
    assert [panel.figure for rows in floats for row in rows for panel in row] == figures
    for rows in floats:
        assert sum(max(panel.height for panel in row) for row in rows) + TITLE_AND_CAPTION < PAGE
