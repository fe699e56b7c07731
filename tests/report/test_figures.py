"""The figures of a study: which are drawn, and their numbers."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from morefromless.report import figures
from morefromless.report.style import save
from tests.report.handmade import results


@pytest.mark.parametrize(
    ("tasks", "stem"), [(("tissue",), "density"), (("tissue", "cell"), "panels")]
)
def test_numbers_lie_beside_the_drawing(tasks: tuple[str, ...], stem: str, tmp_path: Path) -> None:
    paths = figures.write(results(tasks), tmp_path)
    assert {path.stem for path in paths} == {stem}
    assert {path.suffix for path in paths} == {".svg", ".pdf", ".png", ".csv"}
    numbers = pd.read_csv(tmp_path / f"{stem}.csv")
    assert len(numbers) == 3 * len(tasks)
    assert numbers["accuracy"].round(3).tolist()[:3] == [0.79, 0.71, 0.76]
    assert numbers["resolution_px"].unique() == [7]


def test_curves_are_drawn_where_there_are_any(tmp_path: Path) -> None:
    lines = [
        ("r", "asymmetric", "shared", "vicreg", "downsample:7", "full", 0, step, accuracy)
        for step, accuracy in ((10, 0.5), (20, 0.6))
    ]
    columns = ["run", "arm", "sharing", "objective", "modality", "partner", "seed", "step"]
    curves = pd.DataFrame(lines, columns=[*columns, "accuracy"])
    paths = figures.write(replace(results(), curves=curves), tmp_path)
    assert "curves" in {path.stem for path in paths}
    assert pd.read_csv(tmp_path / "curves.csv")["accuracy"].tolist() == [0.5, 0.6]


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    figure = Figure()
    figure.suptitle("$x^$ and $y^2$")
    save(figure, tmp_path / "names")
    assert "$x^$ and $y^2$" in (tmp_path / "names.svg").read_text(encoding="utf-8")


def test_characters_that_no_font_has_are_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    absent = "\U00012000"  # cuneiform, which even Noto's usual packages lack
    for stem in ("one", "two"):
        figure = Figure()
        figure.suptitle(f"tumour {absent}")
        save(figure, tmp_path / stem)
    printed = capsys.readouterr().err
    assert printed.count("No installed font has the characters") == 1
    assert absent in printed
    assert not recwarn.list


def test_another_font_draws_what_the_usual_one_lacks(tmp_path: Path) -> None:
    absent = "\u210a"  # a script letter, which STIX has; matplotlib brings that font
    figure = Figure()
    title = figure.suptitle(f"tumour {absent}")
    save(figure, tmp_path / "names")
    assert len(title.get_fontfamily()) > 1
