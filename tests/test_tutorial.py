"""The tutorial runs with fewer patches, and its map is mostly correct."""

import json
import shlex
from pathlib import Path

import h5py
import pandas as pd
import pytest

from morefromless.cli import run
from morefromless.evaluation.loading import load_encoder
from tests.test_docs import ROOT, command_lines, python_of

PAGE = ROOT / "docs/tutorial.md"


@pytest.mark.timeout(200)
def test_tutorial_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = python_of(PAGE)
    for original, replacement in {
        "patches=540": "patches=180",
        "patches=900": "patches=270",
    }.items():
        assert original in code
        code = code.replace(original, replacement)
    exec(code, {})
    for line in command_lines(PAGE):
        words = shlex.split(line)[1:]
        extra = ["--epochs", "16", "--device", "cpu"] if words[0] == "train" else []
        assert run([*words, *extra]) == 0, capsys.readouterr().err
    table = pd.read_csv("predictions.csv", keep_default_na=False)
    assert len(table) == 128
    expected = [("TUM", "STR", "NORM")[(x // 64 - 1) * 3 // 16] for x in table["x"]]
    predicted = table.filter(like="p_").idxmax(axis=1).str.removeprefix("p_")
    assert (predicted == expected).mean() > 0.5  # nine classes; by chance a ninth
    tiles = json.loads(Path("maps/slide.tif.geojson").read_text())["features"]
    assert len(tiles) == len(table)
    with h5py.File("features.h5") as file:
        assert file["coords"][:].tolist() == table[["x", "y"]].astype(int).to_numpy().tolist()
    assert load_encoder("encoder").um_per_px == 1.75
