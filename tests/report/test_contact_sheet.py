"""Contact sheets: the positions of pictures, texts and legends."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from morefromless.config import ViewsConfig
from morefromless.data.colours import type_colours
from morefromless.data.store import Store
from morefromless.modalities.downsample import Downsample
from morefromless.modalities.full import Full
from morefromless.modalities.vector import Vector
from morefromless.pairs import build_modality
from morefromless.report.bars import bars_on_common_scale, distinctive_values
from morefromless.report.contact_sheet import draw_sheet, view_columns
from morefromless.report.fonts import set_fonts
from morefromless.report.sheet import write_sheet
from morefromless.report.style import write_figure
from morefromless.views.table_s1 import TableS1


def read_pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def pixels_of_colour(colour: tuple[int, int, int], pixels: np.ndarray) -> np.ndarray:
    """Rows and columns of the pixels of exactly this colour."""
    return np.argwhere((pixels == colour).all(-1))


def test_columns_run_to_the_right_and_patches_down(tmp_path: Path) -> None:
    red, blue = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 9, 9)
    red[0, 0], red[1, 0] = 1, 0.4  # 255 and 102
    blue[:, 2] = 1
    sheet = draw_sheet({"one": red, "two": blue}, ["TUM", "STR"], "caption")
    write_figure(sheet, tmp_path / "sheet.png")
    pixels = read_pixels(tmp_path / "sheet.png")
    red_pixels, dark_red_pixels, blue_pixels = (
        pixels_of_colour((255, 0, 0), pixels),
        pixels_of_colour((102, 0, 0), pixels),
        pixels_of_colour((0, 0, 255), pixels),
    )
    assert red_pixels[:, 0].max() < dark_red_pixels[:, 0].min()
    assert max(red_pixels[:, 1].max(), dark_red_pixels[:, 1].max()) < blue_pixels[:, 1].min()
    # Squares have one size, and the second column is as tall as the two rows of the first.
    assert np.ptp(red_pixels[:, 0]) == pytest.approx(np.ptp(red_pixels[:, 1]), abs=2)
    assert len(blue_pixels) == pytest.approx(len(red_pixels) + len(dark_red_pixels), rel=0.02)


def test_a_frame_is_drawn_around_a_pair_in_every_row() -> None:
    columns = {name: torch.ones(2, 3, 4, 4) for name in ("stored", "primary", "privileged")}
    figure = draw_sheet(columns, ["TUM", "STR"], "", [("primary", "privileged")])
    [axes] = figure.axes
    boxes = [picture.get_extent() for picture in axes.images]  # column by column
    frames = [frame.get_bbox() for frame in axes.patches]
    for row, frame in enumerate(frames):
        for column, inside in enumerate((False, True, True)):
            left, right, low, high = boxes[2 * column + row]
            assert (frame.x0 < left and right < frame.x1) == inside
            assert frame.y0 < low
            assert high < frame.y1
    assert len(frames) == 2


def test_scale_bar_has_its_stated_length() -> None:
    figure = draw_sheet({"stored": torch.ones(1, 3, 4, 4)}, ["TUM"], "", widths={"stored": 224})
    [axes] = figure.axes
    left, right, *_ = axes.images[0].get_extent()
    ends = axes.lines[0].get_xdata()
    assert (ends[1] - ends[0]) / (right - left) == pytest.approx(100 / 224)
    assert "100 µm" in [text.get_text() for text in axes.texts]


def test_nuclei_have_a_legend_of_their_colours(
    tissue: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(
        "morefromless.report.sheet.write_figure", lambda figure, *_: figures.append(figure)
    )
    for privileged in ("nuclei", "full"):
        pair = {"primary": ("downsample:4",), "privileged": privileged}
        write_sheet(ViewsConfig(store=tissue.path, out=tmp_path / "a.png", size=32, **pair))
    legend = figures[0].axes[0].get_legend()
    assert legend is not None
    assert figures[1].axes[0].get_legend() is None
    types, colours = tissue.scheme.types, type_colours(len(tissue.scheme.types))
    swatches = zip(legend.get_texts(), legend.get_patches(), strict=True)
    for text, swatch in swatches:
        colour = colours[types.index(text.get_text())]
        assert [round(255 * value) for value in swatch.get_facecolor()[:3]] == list(colour)
    assert len(legend.get_texts()) > 1


def test_long_legend_is_below_the_caption_and_inside_the_sheet() -> None:
    key = {f"a type of nuclei with a long name, {k}": (k, 0, 0) for k in range(20)}
    columns = {"stored": torch.ones(1, 3, 4, 4), "full": torch.ones(1, 3, 4, 4)}
    figure = draw_sheet(columns, ["TUM"], "caption " * 30, key=key)
    [axes] = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    [caption] = [text for text in axes.texts if text.get_text().startswith("caption")]
    box = legend.get_window_extent(renderer)
    assert figure.bbox.x0 < box.x0 < box.x1 < figure.bbox.x1
    assert figure.bbox.y0 < box.y0 < box.y1 < caption.get_window_extent(renderer).y0


@pytest.mark.parametrize(
    "label",
    [
        "MMMMMMMM WWWWWWWW",
        "Übergangszone",
        "Donaudampfschifffahrtsgesellschaft",
        "tubular_adenoma_low_grade_dysplasia",
        "tumour $G_3$, " + "a long name of a class " * 6,
    ],
)
def test_row_titles_are_complete(label: str) -> None:
    figure = draw_sheet({"stored": torch.ones(1, 3, 4, 4)}, [label], "")
    set_fonts(figure)
    canvas = FigureCanvasAgg(figure)
    [axes] = figure.axes
    [text] = [t for t in axes.texts if t.get_ha() == "right"]
    extent = text.get_window_extent(canvas.get_renderer()).transformed(axes.transData.inverted())
    left, _, low, high = axes.images[0].get_extent()
    assert 0 < extent.x0 < extent.x1 < left
    assert low - 0.1 < extent.y0 < extent.y1 < high + 0.1
    words = label.replace("_", "_ ").split()
    assert label.startswith("Donau") or text.get_text().replace("_", "_ ").split() == words


def test_pixels_are_drawn_as_squares(tmp_path: Path) -> None:
    checks = (torch.arange(7)[:, None] + torch.arange(7)) % 2
    red = checks.expand(1, 3, 7, 7) * torch.tensor([1.0, 0, 0])[:, None, None]
    write_figure(draw_sheet({"7 x 7": red}, [""], ""), tmp_path / "sheet.png")
    pixels = read_pixels(tmp_path / "sheet.png")
    coloured = pixels[(pixels[..., 1] == 0) & (pixels[..., 2] == 0)]
    # A smoothed picture would have intermediate shades.
    assert np.isin(coloured[:, 0], (0, 255)).mean() > 0.99


def test_default_columns() -> None:
    stored = {"he": torch.randint(0, 256, (2, 28, 28, 3), dtype=torch.uint8)}
    modalities = {"downsample:7": Downsample(7), "full": Full()}
    generator = torch.Generator().manual_seed(0)
    columns, notes = view_columns(stored, modalities, TableS1(), 32, 2, generator)
    assert list(notes) == [title for title in columns if "view" in title]
    assert list(columns) == [
        "stored",
        "downsample:7",
        "full",
        *(f"{name} view {draw}" for draw in (1, 2) for name in ("downsample:7", "full")),
    ]
    assert columns["stored"].shape == (2, 3, 28, 28)
    assert torch.equal(columns["full"], Full().render(stored["he"], 32))
    assert not torch.equal(columns["full view 1"], columns["full view 2"])


def test_several_arrays_are_named() -> None:
    stored = {name: torch.zeros(1, 8, 8, 3, dtype=torch.uint8) for name in ("he", "ihc")}
    modalities = {"full": Full(), "ihc": Full("ihc")}
    columns, _ = view_columns(stored, modalities, TableS1(), 8, 0, torch.Generator())
    assert list(columns) == ["stored he", "stored ihc", "full", "ihc"]


def test_views_of_masks_have_only_the_colours_of_masks(tissue: Store) -> None:
    rows = np.arange(6)
    stored = {name: torch.from_numpy(tissue.array(name)[rows]) for name in ("he", "nuclei")}
    modalities = {name: build_modality(name) for name in ("full", "nuclei", "nuclei:one-hot")}
    generator = torch.Generator().manual_seed(0)
    columns, _ = view_columns(stored, modalities, TableS1(), 24, 1, generator)
    assert list(columns) == [
        "stored he",
        "stored nuclei",
        "full",
        "nuclei",
        "nuclei:one-hot",
        "full view 1",
        "nuclei view 1",
        "nuclei:one-hot view 1",
    ]
    assert {image.shape[1] for image in columns.values()} == {3}
    assert columns["stored nuclei"].shape == (6, 3, 32, 32)  # in colour, not its bytes
    for name in ("nuclei", "nuclei:one-hot"):
        mask_colours = set(columns[name].unique().tolist())
        assert set(columns[f"{name} view 1"].unique().tolist()) <= mask_colours


def test_each_view_lists_its_augmentations() -> None:
    texts = ["flip, crop 82 %, rotate 143°, noise, solarise, jitter", ""]
    figure = draw_sheet({"view 1": torch.ones(2, 3, 4, 4)}, ["a", "b"], "", notes={"view 1": texts})
    [axes] = figure.axes
    [note] = [text for text in axes.texts if text.get_text().startswith("flip, crop")]
    assert note.get_text().count("\n") == 1
    boxes = [picture.get_extent() for picture in axes.images]
    box = note.get_window_extent()
    top, bottom = (axes.transData.inverted().transform((0, y))[1] for y in (box.y1, box.y0))
    assert boxes[1][3] < bottom < top < boxes[0][2]  # between the two pictures


def test_vectors_are_named_bars_on_one_scale() -> None:
    values = torch.tensor([[0.0, 2.0, -1.0, 5.0], [4.0, 0.0, 0.0, 9.0]])
    bars = bars_on_common_scale(
        {"seen": values, "view": values / 2}, {"KRT5": 1, "VIM": 2, "CD3E": 0}
    )
    figure = draw_sheet({**bars}, ["a", "b"], "")
    [axes] = figure.axes
    widths = [bar.get_width() for bar in axes.patches]
    unit = widths[0] / 2
    expected = [2, 1, 0, 0, 0, 4, 1, 0.5, 0, 0, 0, 2]  # one column after the other
    np.testing.assert_allclose(widths, [unit * value for value in expected], atol=1e-6)
    assert [text.get_text() for text in axes.texts].count("CD3E") == 4
    negative = axes.patches[1]
    assert negative.get_x() + negative.get_width() == pytest.approx(axes.patches[0].get_x())


def test_values_that_distinguish_classes_are_shown() -> None:
    modality = Vector(4)
    labels = np.repeat([0, 1], 6)
    values = np.random.default_rng(0).normal(0, 0.1, (12, 4)).astype(np.float32)
    values[:6, 2] += 5
    values[6:, 0] += 5
    arrays = {"expression": SimpleNamespace(channels=("A", "B", "C", "D"))}
    store = SimpleNamespace(
        indices=lambda _: np.arange(12),
        array=lambda _: values,
        labels=labels,
        classes=("x", "y"),
        meta=SimpleNamespace(arrays=arrays),
    )
    assert list(distinctive_values(modality, store))[:2] == ["C", "A"]  # type: ignore[arg-type]
    assert len(distinctive_values(modality, store)) == 4  # type: ignore[arg-type]
