"""Confusion matrices of few and of many classes, with any class names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from morefromless.report import confusion
from morefromless.report.style import PAGE_WIDTH

NAMES = ["x" * 60, '<b> & "quotes" \'', "$x^$ {a}", "נסיון", "نسيج"]


def draw_confusion(
    classes: list[str], monkeypatch: pytest.MonkeyPatch, titles: Sequence[str] = "abc"
) -> tuple[Figure, pd.DataFrame]:
    saved: list[tuple[Figure, pd.DataFrame]] = []
    monkeypatch.setattr(
        confusion, "save", lambda figure, _, numbers: saved.append((figure, numbers))
    )
    counts = 1 + np.arange(len(classes) ** 2).reshape(len(classes), -1)
    matrices = {title: counts + k for k, title in enumerate(titles)}
    confusion.write_confusion(matrices, classes, Path("x"))
    return saved[0]


@pytest.mark.parametrize("count", [1, 5, 30])
def test_any_number_of_classes_fits(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    classes = [*NAMES, *(f"class-{n}" for n in range(25))][:count]
    figure, numbers = draw_confusion(classes, monkeypatch)
    assert bool(figure.axes[0].texts) == (count <= confusion.MAX_NUMBERED_CLASSES)
    assert set(numbers["true"]) == set(classes)  # not abbreviated in the file
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert max(map(len, labels)) <= confusion.MAX_NAME_LENGTH
    assert labels[1:5] == classes[1:5]
    if count < 30:
        assert figure.get_figwidth() <= PAGE_WIDTH + 0.1


def test_the_figure_grows_with_long_titles(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = [f"distillation, attention-transfer:stages=all,weight={n}" for n in range(6)]
    figure, _ = draw_confusion(["gland", "stroma", "tumour"], monkeypatch, titles)
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        assert axes.title.get_window_extent().y1 <= figure.bbox.y1
    above, below = figure.axes[0], figure.axes[6]
    assert below.title.get_window_extent().y1 < above.get_window_extent().y0


def test_every_column_of_panels_has_class_names_below(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figure, _ = draw_confusion(["adipose", "tumour"], monkeypatch)
    _, _, third, *differences = figure.axes[:5]  # there is nothing below the third
    for axes in differences:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["adipose", "tumour"]
        assert axes.xaxis.get_tick_params()["labelbottom"]
    assert [text.get_text() for text in third.texts[-2:]] == ["adipose", "tumour"]
