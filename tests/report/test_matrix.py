"""A matrix of variants stays legible however many there are."""

import itertools

import numpy as np
import pandas as pd
import pytest

from tcmax.report.figure import MOST_NUMBERS, Canvas, draw_matrix, matrix_height


def drawn(size: int) -> Canvas:
    names = [f"variant {number}" for number in range(size)]
    canvas = Canvas(figsize=(3.25, matrix_height(size, 0.26)), layout="constrained")
    frame = pd.DataFrame(np.zeros((size, size)), index=names, columns=names)
    draw_matrix(canvas.subplots(), frame, np.full((size, size), "*"), 0.0, 1.0, 7)
    canvas.canvas.draw()
    return canvas


@pytest.mark.parametrize("size", [4, MOST_NUMBERS, MOST_NUMBERS + 1, 40])
def test_every_row_and_column_has_its_name_and_no_name_touches_the_next(size: int) -> None:
    axes = drawn(size).axes[0]
    for ticks, side in ((axes.get_xticklabels(), "x"), (axes.get_yticklabels(), "y")):
        assert [tick.get_text() for tick in ticks] == [f"variant {number}" for number in range(size)]
        if size > MOST_NUMBERS or side == "y":
            low, high = ("x0", "x1") if side == "x" else ("y0", "y1")
            boxes = sorted((getattr(t.get_window_extent(), low), getattr(t.get_window_extent(), high)) for t in ticks)
            assert all(later[0] > earlier[1] for earlier, later in itertools.pairwise(boxes))


def test_a_bar_says_what_colours_mean_where_cells_have_no_room_for_numbers() -> None:
    assert len(drawn(MOST_NUMBERS).axes) == 1
    assert len(drawn(MOST_NUMBERS + 1).axes) == 2
