"""The figures of a study: which ones are drawn, and their numbers."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from morefromless.analysis.similarity import LayerCka
from morefromless.evaluation.results import Results
from morefromless.report import figures, map_figure, similarity_figure
from morefromless.report.style import COLUMN_WIDTH, PAGE_WIDTH, write_figure
from tests.conftest import changed
from tests.report.handmade import condition, interval, results, summary


def results_of_two_sides() -> Results:
    """Results with a second modality, of 4 px."""
    first = results()
    second = [
        replace(s, condition=replace(s.condition, modality="downsample:4"), resolution=4)
        for s in first.summaries
    ]
    config = changed(first.config, primary=["downsample:7", "downsample:4"])
    return replace(first, config=config, summaries=[*first.summaries, *second])


@pytest.mark.parametrize("tasks", [("tissue",), ("tissue", "cell")])
def test_one_side_is_drawn_as_panels(tasks: tuple[str, ...], tmp_path: Path) -> None:
    paths = figures.write(results(tasks), tmp_path)
    check_figure_files(paths, "panels", tmp_path)
    assert len(pd.read_csv(tmp_path / "panels.csv")) == 3 * len(tasks)


def test_several_sides_are_drawn_as_lines(tmp_path: Path) -> None:
    paths = figures.write(results_of_two_sides(), tmp_path)
    check_figure_files(paths, "density", tmp_path)
    assert set(pd.read_csv(tmp_path / "density.csv")["resolution_px"]) == {4, 7}


def check_figure_files(paths: list[Path], stem: str, folder: Path) -> None:
    assert {path.stem for path in paths} == {stem}
    assert {path.suffix for path in paths} == {".svg", ".pdf", ".png", ".csv"}
    numbers = pd.read_csv(folder / f"{stem}.csv")
    assert numbers["accuracy"].round(3).tolist()[:3] == [0.79, 0.71, 0.76]
    assert numbers["resolution_px"].tolist()[:3] == [7] * 3


def test_curves_are_drawn_if_recorded(tmp_path: Path) -> None:
    lines = [
        ("r", "asymmetric", "shared", "vicreg", "downsample:7", "full", 0, step, accuracy)
        for step, accuracy in ((10, 0.5), (20, 0.6))
    ]
    columns = ["run", "arm", "sharing", "objective", "modality", "partner", "seed", "step"]
    curves = pd.DataFrame(lines, columns=[*columns, "accuracy"])
    paths = figures.write(replace(results(), curves=curves), tmp_path)
    assert "curves" in {path.stem for path in paths}
    assert pd.read_csv(tmp_path / "curves.csv")["accuracy"].tolist() == [0.5, 0.6]


@pytest.mark.parametrize(
    ("objectives", "modality"),
    [(["vicreg", "simclr"], "downsample:7"), (["vicreg"], "downsample:7,point")],
)
def test_lines_need_one_objective_and_modality_per_side(
    objectives: list[str], modality: str, tmp_path: Path
) -> None:
    """Two modalities with the same side would be drawn as a zigzag."""
    figures.write(results_of_two_sides(), tmp_path)
    first = results_of_two_sides()
    extra = [
        replace(s, condition=replace(s.condition, objective=objectives[-1], modality=modality))
        for s in first.summaries
        if s.resolution == 7
    ]
    primary = dict.fromkeys((*first.config.primary, modality))
    config = replace(first.config, objectives=tuple(objectives), primary=tuple(primary))
    many = replace(first, config=config, summaries=[*first.summaries, *extra])
    paths = figures.write(many, tmp_path)
    assert {path.stem for path in paths} == {"panels"}
    assert not list(tmp_path.glob("density.*"))  # the figure of the earlier study was removed


def test_curves_of_fine_tuned_encoders_name_their_first_arm() -> None:
    lines = [
        ("r", "fine-tuned", "shared", "vicreg", "downsample:7", partner, 0, step, 0.5)
        for partner in ("full", "")
        for step in (10, 20)
    ]
    columns = ["run", "arm", "sharing", "objective", "modality", "partner", "seed", "step"]
    curves = pd.DataFrame(lines, columns=[*columns, "accuracy"])
    [legend] = figures.curves(replace(results(), curves=curves)).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "fine-tuned, asymmetric, shared",
        "fine-tuned, symmetric, shared",
    ]
    assert len({line.get_color() for line in legend.get_lines()}) == 2


def test_names_are_not_formulas(tmp_path: Path) -> None:
    figure = Figure()
    figure.suptitle("$x^$ and $y^2$")
    write_figure(figure, tmp_path / "names.svg")
    assert "$x^$ and $y^2$" in (tmp_path / "names.svg").read_text(encoding="utf-8")


def test_characters_without_a_font_are_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    absent = "\U00012000"  # cuneiform, missing even from the usual Noto packages
    for stem in ("one", "two"):
        figure = Figure()
        figure.suptitle(f"tumour {absent}")
        write_figure(figure, tmp_path / f"{stem}.svg")
    error_output = capsys.readouterr().err
    assert error_output.count("No installed font has the characters") == 1
    assert absent in error_output
    assert not recwarn.list


def test_fallback_font_draws_missing_characters(tmp_path: Path) -> None:
    absent = "\u210a"  # a script letter, which STIX has; matplotlib brings that font
    figure = Figure()
    title = figure.suptitle(f"tumour {absent}")
    write_figure(figure, tmp_path / "names.svg")
    assert len(title.get_fontfamily()) > 1


def test_floor_names_are_next_to_bars_and_do_not_overlap() -> None:
    figure = figures.density(results())
    assert not figure.axes[0].texts
    assert "outside the axis: random encoder 50 %" in figure.axes[0].get_xlabel()
    without_floor = [s for s in results().summaries if s.condition.arm != "random encoder"]
    [floor] = [s for s in results().summaries if s.condition.arm == "random encoder"]
    close_floors = [
        replace(
            floor,
            condition=replace(floor.condition, arm=arm),
            intervals={"accuracy": interval(0.7 + 0.001 * number)},
        )
        for number, arm in enumerate(("mean-rgb", "colour-histogram", "random encoder"))
    ]
    figure = figures.density(replace(results(), summaries=[*without_floor, *close_floors]))
    [names] = [text.get_text() for text in figure.axes[0].texts]
    assert names.splitlines() == ["random encoder", "colour-histogram", "mean-rgb"]


def test_panel_axis_excludes_distant_floors() -> None:
    [panel] = figures.panels(results()).axes
    assert panel.get_xlim() == pytest.approx((64, 86))
    assert panel.get_xlabel().endswith("outside: majority 20\u00a0%, random encoder 50\u00a0%")


def test_overlapping_floors_are_named() -> None:
    plain = results()
    colour_floors = [
        summary(condition(arm), (accuracy,))
        for arm, accuracy in (("mean-rgb", 0.7), ("colour-histogram", 0.7001))
    ]
    [panel] = figures.panels(replace(plain, summaries=[*plain.summaries, *colour_floors])).axes
    assert panel.get_xlabel().endswith("overlapping: mean-rgb and colour-histogram")


@pytest.mark.parametrize("draw", [figures.density, figures.panels])
def test_figures_have_the_width_of_a_column_or_a_page(draw: Callable[[Results], Figure]) -> None:
    widths = [COLUMN_WIDTH, 1.5 * COLUMN_WIDTH, PAGE_WIDTH]
    assert draw(results()).get_figwidth() in widths
    assert draw(results(("tissue", "cell"))).get_figwidth() in widths


def test_lines_of_cka_have_the_colours_of_their_arms(tmp_path: Path) -> None:
    arms = ("asymmetric, shared", "symmetric, shared", "supervised", "random")
    values = np.full((2, 5, 5), 0.5)
    layers = ("conv1", "layer1.0", "layer1.1", "layer2.0", "layer2.1")
    pairs = [(a, b) for n, a in enumerate(arms) for b in arms[n:]]
    saved: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity_figure, "save", lambda figure, *_: saved.append(figure))
        cka = [LayerCka(a, b, layers, layers, values, False) for a, b in pairs]
        similarity_figure.write_diagonals(cka, tmp_path)
        similarity_figure.write_heat_maps(cka, tmp_path)
    diagonals, heat_maps = saved
    within, between = (axes.get_lines() for axes in diagonals.axes)
    assert [line.get_color() for line in within][:2] == ["#D55E00", "#0072B2"]
    assert (between[0].get_color(), between[0].get_gapcolor()) == ("#D55E00", "#0072B2")
    assert len(between) == 6
    tick_labels = [label.get_text() for label in heat_maps.axes[-2].get_xticklabels()]
    assert tick_labels == ["conv1", "layer1", "layer2"]


def test_map_distinguishes_seeds_with_any_names(tmp_path: Path) -> None:
    titles = [f"asymmetric, independent, seed {seed}" for seed in (0, 1)]
    labels = [f"{'x' * 60} <&> نسيج {number}" for number in range(9)] * 2
    groups = [f"patient {number}" for number in range(18)]
    values = np.random.default_rng(0).normal(size=(2, 18, 4)).astype(np.float32)
    saved: list[Figure] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_figure, "save", lambda figure, *_: saved.append(figure))
        features = dict(zip(titles, values, strict=True))
        map_figure.write_map(features, labels, labels, groups, tmp_path)
    [figure] = saved
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    names = [
        [" ".join(text.get_text().split()) for text in legend.get_texts()] for legend in legends
    ]
    assert len(set(names[0])) == 9
    assert names[1:] == [[], titles]
    assert legends[1].get_title().get_text() == "18 groups: too many to name"
    assert figure.get_figwidth() == PAGE_WIDTH


@pytest.mark.parametrize("partner", ["", ", independent, with downsample:14"])
def test_panel_labels_do_not_overlap(partner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Results, "with_partner", lambda *_: partner)
    figure = figures.panels(results(("tissue", "cell of some kind", "one of a kind", "two")))
    figure.draw_without_rendering()
    for texts in ([a.xaxis.label for a in figure.axes], [a.title for a in figure.axes]):
        boxes = [text.get_window_extent() for text in texts]
        assert len(boxes) == 4
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
        assert boxes[-1].x1 < figure.bbox.x1
