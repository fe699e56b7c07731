"""Predictions and heat maps with the encoder's probe, in the slide's coordinates."""

import json
import re
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image

from morefromless import cli
from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.calibration import calibrate
from morefromless.evaluation.loading import load_encoder
from morefromless.files import StorageError
from morefromless.inference.embed import embed
from morefromless.inference.inputs import open_inputs
from morefromless.inference.predict import predict
from morefromless.inference.slides import SlidePatches
from morefromless.ingest import ingest
from morefromless.report.slide_maps import feature_collection, write_maps
from morefromless.runs import Run
from tests.inference.conftest import SIDE
from tests.test_files import refuse_to_write


@pytest.fixture
def moved_run(run: Run, tmp_path: Path) -> Run:
    """A copy of the run, without its store."""
    return Run(Path(shutil.copytree(run.path, tmp_path / "elsewhere" / "deep" / "run")))


def test_a_moved_run_predicts_a_slide(
    moved_run: Run,
    tissue: Store,
    folder: Path,
    slide: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, maps = tmp_path / "predictions.csv", tmp_path / "maps"
    arguments = ["predict", str(moved_run.path), str(slide), str(folder), "--to", str(out)]
    assert cli.run(arguments) == 2
    assert "give --store FOLDER once" in capsys.readouterr().err
    probe_arguments = [
        "probe",
        str(moved_run.path),
        "--store",
        str(tissue.path),
        "--probe-epochs",
        "20",
    ]
    assert cli.run(probe_arguments) == 0
    exported = tmp_path / "encoder"
    assert cli.run(["export", str(moved_run.path), str(exported)]) == 0
    arguments[1] = str(exported)
    capsys.readouterr()
    assert cli.run([*arguments, "--maps", str(maps), "--abstain", "0.4"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "With a probability of at least 0.4," in output
    assert "are farther from the training patches than 99 %" in output
    assert cli.run([*arguments[:-1], str(tmp_path / "none.csv"), "--abstain", "1"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert re.search(r"0.0 % of the \d+ held-out training patches get a class; of these", output)

    table = pd.read_csv(out, keep_default_na=False)
    frozen = load_encoder(moved_run.path)
    probe = calibrate(frozen, tissue, Probe(probe_epochs=20), "tissue")
    columns = [f"p_{name}" for name in tissue.classes]
    files = table[table["input"] == folder.name]
    expected = probe.probabilities(frozen.represent(tissue, np.arange(8)))
    torch.testing.assert_close(
        torch.tensor(files[columns].to_numpy(np.float32)), expected, rtol=1e-3, atol=1e-4
    )
    classified = table["probability"] >= 0.4
    assert (table["class"] != "").tolist() == classified.tolist()
    predicted = table[columns].to_numpy().argmax(1)
    assert table["class"][classified].tolist() == [tissue.classes[k] for k in predicted[classified]]

    tiles = table[table["input"] == slide.name].astype({"x": float, "y": float})
    with tifffile.TiffFile(maps / "slide.svs.ome.tif") as file:
        grid = file.asarray()
        assert f'PhysicalSizeX="{SIDE * 3.5}"' in str(file.ome_metadata)
    assert grid.shape == (len(tissue.classes) + 1, 256 // SIDE, 512 // SIDE)
    assert (~np.isnan(grid[0])).sum() == len(tiles)
    collection = json.loads((maps / "slide.svs.geojson").read_text())
    assert len(collection["features"]) == len(tiles)
    for feature, (_, row) in zip(collection["features"], tiles.iterrows(), strict=True):
        x, y = row["x"], row["y"]
        assert feature["geometry"]["coordinates"][0][0] == [x, y]
        assert feature["geometry"]["coordinates"][0][2] == pytest.approx([x + SIDE, y + SIDE])
        pixel = grid[:, int(y // SIDE), int(x // SIDE)]
        np.testing.assert_allclose(pixel[:-1], row[columns].to_numpy(float), atol=1e-5)
        name = feature["properties"].get("classification", {"name": ""})["name"]
        assert name == row["class"]
    with Image.open(maps / "slide.svs.png") as picture:
        assert picture.width >= 400


def test_probe_of_another_store_is_reported(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It replaces the run's own probe, also for later predictions."""
    other_store = tmp_path / "other"
    ingest("synthetic:patches=60,patients=6,size=16,seed=5", other_store)
    arguments = ["predict", str(run.path), str(folder), "--to", str(tmp_path / "p.csv")]
    for added, foreign in ([], False), (["--store", str(other_store)], True), ([], True):
        assert cli.run([*arguments, *added]) == 0
        assert ("another store" in capsys.readouterr().out) is foreign
    assert cli.run(["probe", str(run.path)]) == 0
    assert cli.run(arguments) == 0
    assert "another store" not in capsys.readouterr().out


def test_invalid_options_are_refused(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, reason in {
        ("--to", "a.xls"): "does not end in .csv or .parquet",
        ("--to", "a.csv", "--abstain", "7"): "give a probability, from 0 to 1",
        (
            "--to",
            str(tmp_path / "a.csv"),
            "--maps",
            "maps",
        ): "--maps draws slides, but no input is a slide",
    }.items():
        arguments = ["predict", str(run.path), str(folder), *options]
        assert cli.run(arguments) == 2
        assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["embed", "predict"])
def test_unwritable_output_is_refused_first(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse_to_write(monkeypatch)
    assert cli.run([command, "run", "folder", "--to", "a.parquet"]) == 2
    assert "choose another place with --to." in capsys.readouterr().err


@pytest.mark.parametrize("command", ["embed", "predict"])
def test_folder_as_output_file_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.parquet").mkdir()
    assert cli.run([command, "run", "folder", "--to", str(tmp_path / "a.parquet")]) == 2
    assert "a.parquet is a folder; give a file with --to." in capsys.readouterr().err


def test_predict_resumes_from_features_after_failed_maps(
    run: Run, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["predict", str(run.path), str(slide), "--to", str(tmp_path / "p.csv"), "--maps"]
    with monkeypatch.context() as patch:
        patch.setattr(
            "morefromless.report.slide_maps.write_maps", Mock(side_effect=StorageError("-"))
        )
        assert cli.run([*arguments, str(tmp_path / "maps")]) == 2
    assert [*(tmp_path / "p.csv.partial").iterdir()]
    assert cli.run([*arguments, str(tmp_path / "maps")]) == 0
    assert not (tmp_path / "p.csv.partial").exists()


@pytest.mark.parametrize("probe", ["knn:5", "ridge"])
def test_uncalibrated_probe_is_shown(
    run: Run, probe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["probe", str(run.path), "--probe", probe, "--device", "cpu"]) == 0
    assert "primary" in capsys.readouterr().out


def test_geojson_tiles_use_qupath_coordinates(run: Run, slide: Path) -> None:
    (patches,) = open_inputs([str(slide)], load_encoder(run.path))
    assert isinstance(patches, SlidePatches)
    patches.slide.origin = (64, 32)  # like a MIRAX slide
    row = pd.DataFrame({"x": [96], "y": [64], "class": [""]})
    (feature,) = feature_collection(patches, row, {})["features"]
    assert feature["geometry"]["coordinates"][0][0] == [32, 32]


def test_a_tile_without_a_class_is_hatched(run: Run, slide: Path, tmp_path: Path) -> None:
    (patches,) = open_inputs([str(slide)], load_encoder(run.path))
    assert isinstance(patches, SlidePatches)
    # A class with probability 0 is transparent.
    class_name = "$x^$ A"  # must not be drawn as a formula
    table = patches.table.assign(
        probability=0.0, outlier_percentile=0.0, **{f"p_{class_name}": 0.0}
    )
    tile = 7
    pictures = []
    for name in (class_name, ""):
        table["class"] = [class_name] * tile + [name] + [class_name] * (len(table) - tile - 1)
        _, path, _ = write_maps(patches, table, tmp_path)
        with Image.open(path) as picture:
            pictures.append(np.asarray(picture.convert("L")).astype(int))
    height, width = pictures[0].shape
    down, across = np.nonzero(abs(pictures[0] - pictures[1])[: height * 4 // 5] > 50)
    assert len(down)
    middle = patches.corners[tile] + patches.side_level0 / 2
    assert across.mean() / width == pytest.approx(middle[0] / 512, abs=0.02)
    assert np.ptp(across) / width == pytest.approx(patches.side_level0 / 512, abs=0.02)
    assert np.ptp(down) == pytest.approx(np.ptp(across), abs=3)


def test_a_probe_of_another_encoder_is_refused(moved_run: Run, tissue: Store) -> None:
    frozen, privileged = load_encoder(moved_run.path), load_encoder(moved_run.path, "privileged")
    embedding = embed(frozen, open_inputs(tissue.path, frozen), progress=False)
    probe = calibrate(privileged, tissue, Probe(probe_epochs=2), "tissue")
    with pytest.raises(ConfigError, match="features of another encoder"):
        predict(embedding, probe)
    own_probe = calibrate(frozen, tissue, Probe(probe_epochs=2), "tissue")
    assert len(predict(embedding, own_probe)) == len(tissue.table)
