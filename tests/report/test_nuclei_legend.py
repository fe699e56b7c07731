"""The legend of exported nuclei has their colours, and does not prevent importing them again."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from morefromless import cli
from morefromless.data.store import Store
from morefromless.ingest import ingest
from morefromless.report import nuclei_legend
from morefromless.sources.synthetic import Synthetic


def test_cut_nucleus_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = pd.DataFrame({"type": [1, 1, 2], "counted": [True, False, True]})
    store = SimpleNamespace(nuclei=pieces, scheme=SimpleNamespace(types=("none", "a", "b")))
    figures: list[Figure] = []
    monkeypatch.setattr(nuclei_legend, "write_figure", lambda figure, *_: figures.append(figure))
    nuclei_legend.write_legend(cast(Store, store), tmp_path)
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["a: 1", "b: 1"]


def test_legend_has_the_colours_of_the_files(tmp_path: Path) -> None:
    source = Synthetic(patches=18, patients=2, size=32)
    tissue = ingest(source, tmp_path / "store", progress=False, workers=1).store
    out = tmp_path / "nuclei"
    assert cli.run(["export-nuclei", str(tissue.path), str(out)]) == 0
    pixels = np.asarray(Image.open(out / "legend.png").convert("RGB")).reshape(-1, 3)
    legend_colours = {tuple(map(int, colour)) for colour in np.unique(pixels, axis=0)}
    colours = {
        tuple(feature["properties"]["classification"]["color"])
        for path in out.rglob("*.geojson")
        for feature in json.loads(path.read_text())["features"]
    }
    assert len(colours) > 1
    assert colours <= legend_colours
    assert cli.run(["export-nuclei", str(tissue.path), str(out)]) == 0  # a second export works too
    for row, name in enumerate(tissue.table["id"]):
        path = tmp_path / "images" / str(tissue.table["label"][row]) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(tissue.array("he")[row])).save(path)
    arguments = ["ingest", str(tmp_path / "images"), str(tmp_path / "again")]
    assert cli.run([*arguments, "--nuclei", str(out), "--workers", "1", "--split", "random"]) == 0
    assert len(Store.open(tmp_path / "again").nuclei) > 0
