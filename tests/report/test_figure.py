"""What figures share in drawing."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tcmax.report.figure import Canvas


@pytest.mark.parametrize("form", ["pdf", "png", "svg"])
def test_a_canvas_saves_what_matplotlib_saves_by_drawing_twice(form: str) -> None:
    def saved(kind: type[Figure]) -> bytes:
        canvas = kind(figsize=(3, 2), layout=ConstrainedLayoutEngine())
        FigureCanvasAgg(canvas)
        for k, axes in enumerate(canvas.subplots(1, 2)):
            axes.plot(np.arange(4) ** (k + 1), label="a line")
            axes.set_yticks([0, 5], ["a name that is long", "another"], rotation=35)
            axes.set_xlabel("x")
        canvas.legend(loc="outside lower center")
        stream = io.BytesIO()
        empty = {"pdf": "CreationDate", "svg": "Date", "png": "Software"}[form]
        with mpl.rc_context({"svg.hashsalt": "equal"}):
            canvas.savefig(stream, format=form, metadata={empty: None})
        return stream.getvalue()

    assert saved(Canvas) == saved(Figure)
    assert len(saved(Canvas)) > 2000
