"""Features of folders, stores, tables and slides: the same values for every input."""

import json
import os
import shutil
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image

from morefromless import cli
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError, UnreadablePatch
from morefromless.evaluation.loading import load_encoder
from morefromless.inference import embed as module
from morefromless.inference.embed import Embedding, embed
from morefromless.inference.inputs import open_inputs, remarks
from morefromless.inference.patches import COLUMNS
from morefromless.inference.writers import writer
from morefromless.runs import Run
from tests.inference.conftest import SIDE, write_slide
from tests.real import real
from tests.unreadable import refuse_to_list


def embedded(run: Run, *inputs: Any, **options: Any) -> Embedding:
    frozen = load_encoder(run.path)
    opened = open_inputs([str(path) for path in inputs], frozen, **options)
    return embed(frozen, opened, progress=False)


@pytest.fixture(scope="module")
def expected(run: Run, tissue: Store) -> torch.Tensor:
    """A plain loop over the store's patches."""
    frozen = load_encoder(run.path)
    with torch.no_grad():
        return torch.cat(
            [frozen.encoder(frozen.render(tissue, np.array([row]))) for row in range(24)]
        )


def close(features: np.ndarray, expected: torch.Tensor) -> None:
    torch.testing.assert_close(torch.from_numpy(features), expected, rtol=1e-3, atol=1e-4)


def test_stores_folders_tables_files_and_slides_give_the_same_features(
    run: Run, tissue: Store, folder: Path, slide: Path, expected: torch.Tensor, tmp_path: Path
) -> None:
    whole = embedded(run, tissue.path)
    assert whole.table["id"].tolist() == tissue.table["id"].tolist()
    assert whole.table["label"].tolist() == tissue.table["label"].tolist()
    close(whole.features[:24], expected)
    assert (
        repr(whole)
        == f"Embedding({len(tissue.table)} patches x {whole.features.shape[1]} features)"
    )
    files = embedded(run, folder)
    assert files.table["id"].tolist() == [f"{row}.png" for row in range(8)]
    assert files.table["label"].isna().all()
    close(files.features, expected[:8])
    table = tmp_path / "pairs.csv"
    table.write_text("id,he\n" + "".join(f"p{k},{folder}/{k}.png\n" for k in range(8)))
    close(embedded(run, table).features, expected[:8])
    close(embedded(run, folder / "3.png").features, expected[3:4])
    tiles = embedded(run, slide)
    corners = tiles.table[["x", "y"]].to_numpy(int) // SIDE - 2
    close(tiles.features, expected[corners[:, 1] * 6 + corners[:, 0]])
    assert 12 < len(corners) < 24  # pale tissue is excluded
    assert tiles.attributes["patch_size_level0"] == pytest.approx(SIDE)


def test_every_format_holds_the_same(
    run: Run, slide: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = embedded(run, slide, folder)
    for ending in ("h5", "parquet", "csv", "npz", "h5ad"):
        file = tmp_path / f"features.{ending}"
        arguments = ["embed", str(run.path), str(slide), str(folder), "--to", str(file)]
        assert cli.run(arguments) == 0
        assert "x 96 features" in capsys.readouterr().out.replace("\n", " ")
        assert not file.with_name(f"{file.name}.partial").exists()
    width = expected.features.shape[1]
    with h5py.File(tmp_path / "features.h5") as h5:
        np.testing.assert_array_equal(h5["features"], expected.features)
        places = expected.table[["x", "y"]].astype(float).fillna(-1)
        np.testing.assert_array_equal(h5["coords"], places)
        assert h5["id"].asstr()[:].tolist() == expected.table["id"].tolist()
        assert h5["coords"].attrs["patch_size_level0"] == pytest.approx(SIDE)
    parquet = pd.read_parquet(tmp_path / "features.parquet")
    assert list(parquet) == [*COLUMNS, *(f"f{k}" for k in range(width))]
    np.testing.assert_array_equal(parquet.iloc[:, len(COLUMNS) :], expected.features)
    text = pd.read_csv(tmp_path / "features.csv", dtype={"id": str})
    assert list(text) == list(parquet)
    assert text["id"].tolist() == expected.table["id"].tolist()
    np.testing.assert_array_equal(
        text.iloc[:, len(COLUMNS) :].astype(np.float32), parquet.iloc[:, len(COLUMNS) :]
    )
    npz = np.load(tmp_path / "features.npz")
    np.testing.assert_array_equal(npz["features"], expected.features)
    assert npz["id"].tolist() == expected.table["id"].tolist()
    assert json.loads(str(npz["attributes"]))["modality"] == "downsample:4"
    data = anndata.read_h5ad(tmp_path / "features.h5ad")
    np.testing.assert_array_equal(data.X, expected.features)
    assert data.obs_names.tolist() == expected.table["id"].tolist()
    assert data.obsm["spatial"].shape == (len(expected.table), 2)


def test_an_id_that_reads_as_a_formula_is_text_in_a_csv(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "patches").mkdir()
    shutil.copy(folder / "3.png", tmp_path / "patches" / "=1+1.png")
    writer(tmp_path / "a.csv")(embedded(run, tmp_path / "patches"), tmp_path / "a.csv")
    assert pd.read_csv(tmp_path / "a.csv")["id"].tolist() == ["'=1+1.png"]


def test_labels_that_are_not_known_are_missing(
    run: Run, tissue: Store, folder: Path, tmp_path: Path
) -> None:
    embedding = embedded(run, folder, tissue.path)
    writer(tmp_path / "features.h5ad")(embedding, tmp_path / "features.h5ad")
    labels = anndata.read_h5ad(tmp_path / "features.h5ad").obs["label"]
    assert labels[:8].isna().all()
    assert labels[8:].tolist() == tissue.table["label"].tolist()
    assert labels.cat.categories.tolist() == list(tissue.classes)


def test_what_is_done_is_not_done_again(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATCHES_PER_PART", 4)
    frozen = load_encoder(run.path)
    patches = Path(shutil.copytree(folder, tmp_path / "patches"))
    inputs = open_inputs(patches, frozen)
    read, reads = inputs[0].read, []

    def stopping(row: int) -> Any:
        reads.append(row)
        if len(reads) == 6:
            raise KeyboardInterrupt
        return read(row)

    monkeypatch.setattr(inputs[0], "read", stopping)
    partial = patches / "features.npz.partial"  # a folder next to the patches
    with pytest.raises(KeyboardInterrupt):
        embed(frozen, inputs, partial=partial, progress=False)
    (patches / "nohup.out").write_text("interrupted")
    reads.clear()
    resumed = embed(frozen, inputs, partial=partial, progress=False)
    assert sorted(reads)[0] == 4
    np.testing.assert_array_equal(resumed.features, embedded(run, folder).features)


def test_folders_of_one_name_are_not_taken_for_each_other(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """Folders with equal names of patches; an interrupted command keeps its parts."""
    names = sorted(path.name for path in folder.iterdir())
    for hospital, order in (("a", names), ("b", names[::-1])):
        (tmp_path / hospital / "patches").mkdir(parents=True)
        for name, source in zip(names, order, strict=True):
            shutil.copyfile(folder / source, tmp_path / hospital / "patches" / name)
    frozen = load_encoder(run.path)
    for hospital in ("a", "b"):
        patches = tmp_path / hospital / "patches"
        opened = open_inputs([str(patches)], frozen)
        parts = embed(frozen, opened, partial=tmp_path / "partial", progress=False)
        np.testing.assert_array_equal(parts.features, embedded(run, patches).features)


def test_parts_of_files_that_changed_are_not_taken(
    run: Run, tissue: Store, folder: Path, tmp_path: Path
) -> None:
    patches = Path(shutil.copytree(folder, tmp_path / "patches"))
    frozen = load_encoder(run.path)
    for _ in range(2):
        opened = open_inputs([patches], frozen)
        parts = embed(frozen, opened, partial=tmp_path / "partial", progress=False)
        np.testing.assert_array_equal(parts.features, embedded(run, patches).features)
        Image.fromarray(np.asarray(tissue.array("he")[9])).save(patches / "3.png")


@pytest.mark.filterwarnings("error")
def test_inputs_of_which_different_things_are_known_are_joined(
    run: Run, tissue: Store, folder: Path, slide: Path
) -> None:
    inputs = open_inputs([folder, slide, tissue.path], load_encoder(run.path))
    types = [patches.table.dtypes.to_dict() for patches in inputs]
    assert types == types[:1] * 3  # pandas keeps the types of empty columns
    table = embedded(run, folder, slide, tissue.path).table
    assert table["x"].notna().sum() == len(embedded(run, slide).table)
    assert table["split"].notna().sum() == len(tissue.table)


def test_a_name_that_is_not_in_utf_8_is_refused(run: Run, slide: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"Schnitt_\xe4.svs")
    shutil.copy(slide, odd)
    with pytest.raises(DataError, match=r"Schnitt_\\udce4\.svs' is not in UTF-8; rename it"):
        embedded(run, odd)


def test_what_lies_beside_the_patches_is_counted(run: Run, folder: Path, tmp_path: Path) -> None:
    patches = Path(shutil.copytree(folder, tmp_path / "patches"))
    (patches / "8.gif").touch()
    frozen = load_encoder(run.path)
    said = [*remarks(open_inputs([patches], frozen, 3.5), frozen)]
    assert said == ["Skipped in patches: 1 x file ending in '.gif'."]


def test_folders_among_patches_that_may_not_be_read_are_counted(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = Path(shutil.copytree(folder, tmp_path / "patches"))
    (patches / "lost+found").mkdir()
    refuse_to_list(monkeypatch, patches / "lost+found")
    frozen = load_encoder(run.path)
    (opened,) = open_inputs(patches, frozen)
    assert len(opened) == 8
    assert "1 x folder 'lost+found' (permission denied)" in "".join(remarks([opened], frozen))


def test_images_that_cannot_be_used_are_counted_with_their_reason(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = Path(shutil.copytree(folder, tmp_path / "mixed"))
    noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(noise[..., 0].astype(np.uint16) * 255).save(mixed / "deep.png")
    Image.fromarray(noise[..., 0]).save(mixed / "grey.png")
    Image.fromarray(noise).convert("CMYK").save(mixed / "cmyk.jpg")
    Image.fromarray(noise[:16]).save(mixed / "flat.png")
    (mixed / "text.png").write_text("no image")
    frames = [Image.fromarray(noise)] * 2
    frames[0].save(mixed / "moving.png", save_all=True, append_images=frames[1:])
    arguments = ["embed", str(run.path), str(mixed), "--to", str(tmp_path / "f.npz")]
    assert cli.run(arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    for reason in ("16-bit image: convert", "grey image: convert", "colours not RGB: mode CMYK"):
        assert f"1 rejected: {reason}" in said
    assert "1 rejected: not square: 32 x 16" in said
    assert "1 rejected: several pages or frames" in said
    assert "8 patches x" in said
    for name in [*(f"{row}.png" for row in range(8))]:
        (mixed / name).unlink()
    assert cli.run(arguments) == 2
    assert "None of the 6 patches can be used" in capsys.readouterr().err


def test_slides_of_a_folder_that_cannot_be_used_are_left_out(
    run: Run, slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "slides"
    root.mkdir()
    (root / "broken.svs").write_bytes(b"nothing")
    write_slide(root / "scaleless.svs", np.full((64, 128, 3), (225, 160, 200), np.uint8), None)
    with pytest.raises(DataError, match=r"broken\.svs"):
        embedded(run, root)
    shutil.copy(slide, root)
    arguments = ["embed", str(run.path), str(root), "--to", str(tmp_path / "f.npz")]
    assert cli.run(arguments) == 0
    shown = capsys.readouterr().out
    assert "1 rejected: unreadable slide: " in shown
    assert "1 rejected: magnification unknown: " in shown
    np.testing.assert_array_equal(embedded(run, root).features, embedded(run, slide).features)


def test_a_slide_that_is_coarser_than_the_training_is_not_enlarged(
    run: Run, slide: Path, tmp_path: Path
) -> None:
    pixels = np.asarray(tifffile.imread(slide))
    coarse = write_slide(tmp_path / "coarse.svs", pixels, 7)
    with pytest.raises(DataError, match=r"coarse\.svs has 7 µm per px at best, coarser than 3\.5;"):
        embedded(run, coarse)
    assert len(embedded(run, coarse, at=7).table)
    assert len(embedded(run, write_slide(tmp_path / "nearly.svs", pixels, 3.7)).table)


def test_a_folder_of_tiff_slides_is_no_folder_of_patches(
    run: Run, tissue: Store, slide: Path, tmp_path: Path
) -> None:
    pixels = np.full((1100, 1100, 3), 245, np.uint8)
    pixels[:256, :512] = tifffile.imread(slide)
    (tmp_path / "slides/deep").mkdir(parents=True)
    path = write_slide(tmp_path / "slides/deep/square.tif", pixels, tissue.um_per_px)
    whole, single = embedded(run, tmp_path / "slides"), embedded(run, path)
    assert len(whole.table) == len(single.table) > 1
    np.testing.assert_array_equal(whole.features, single.features)
    patch = Image.fromarray(np.asarray(tissue.array("he")[0]))
    (tmp_path / "patches").mkdir()
    patch.save(tmp_path / "patches/patch.tif")
    assert len(embedded(run, tmp_path / "patches").table) == 1


def test_the_damaged_tiles_of_a_slide_have_one_reason(
    run: Run, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [patches] = open_inputs([slide], load_encoder(run.path))
    read = patches.slide.read

    def damaged(x: int, y: int, *size: float) -> Any:
        if x >= 128:
            raise UnreadablePatch(f"damaged: the slide cannot be read at x {x}, y {y}")
        return read(x, y, *size)

    monkeypatch.setattr(patches.slide, "read", damaged)
    embedding = embed(load_encoder(run.path), [patches], progress=False)
    [(reason, count)] = embedding.rejected.items()
    assert reason == "damaged: these tiles of slide.svs cannot be read; download it again"
    assert len(embedding.table) + count == len(patches) > count > 1


def test_an_encoder_of_masks_is_given_no_other_images(run: Run, folder: Path, slide: Path) -> None:
    frozen = replace(load_encoder(run.path), modality_spec="nuclei")
    for path in (folder / "3.png", slide):
        with pytest.raises(
            DataError, match=r"contains images, but the encoder takes nuclei; give a"
        ):
            open_inputs([str(path)], frozen)
    with pytest.raises(DataError, match="no nuclei: this patch does not have it"):
        embed(frozen, open_inputs([str(folder)], frozen), progress=False)


def test_slides_of_one_name_are_refused(run: Run, slide: Path, tmp_path: Path) -> None:
    """Their tissue, and therefore the ids of their tiles, may differ."""
    pixels = np.asarray(tifffile.imread(slide))
    scale = load_encoder(run.path).um_per_px
    other = write_slide(tmp_path / slide.name, np.roll(pixels, 256, axis=1), scale)
    with pytest.raises(
        DataError, match=r"Two slides have the name slide\.svs, .* separate commands"
    ):
        embedded(run, slide, other)


def test_another_magnification_or_size_is_told_with_both_numbers(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=r"1\.3 µm per pixel, but the encoder was trained at 3\.5"):
        embedded(run, folder, um_per_px=1.3)
    embedded(run, folder, um_per_px=1.3, at=1.3)
    with pytest.raises(DataError, match=r"1\.3 µm per pixel, but --at requests 2; rescale"):
        embedded(run, folder, um_per_px=1.3, at=2.0)
    large = tmp_path / "large"
    large.mkdir()
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(large / "a.png")
    to = str(tmp_path / "f.npz")
    assert cli.run(["embed", str(run.path), str(large), "--to", to]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "patches of 48 px, and the encoder was trained on 32 px" in said
    assert "does not state its magnification, and the encoder was trained at 3.5 µm" in said
    unknown = SimpleNamespace(um_per_px=None, side=32)
    opened = open_inputs([str(folder)], load_encoder(run.path), 3.5)
    [said] = remarks(opened, unknown)
    assert "3.5 µm per pixel" in said
    assert "not compared" in said
    assert not [*remarks(opened, unknown, at=3.5)]


def test_an_image_of_40_000_px_is_read_tile_by_tile(
    run: Run, tissue: Store, tmp_path: Path
) -> None:
    pixels = np.full((512, 40_000, 3), 245, np.uint8)
    for row, column in np.ndindex(4, 4):
        y, x = 256 + row * SIDE, 20_000 + column * SIDE
        pixels[y : y + SIDE, x : x + SIDE] = tissue.array("he")[column]
    path = write_slide(tmp_path / "wide.tif", pixels, 0.5)
    tracemalloc.start()
    features = embedded(run, path, at=0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 1 <= len(features.table) < 40
    assert features.table["x"].astype(int).between(19_900, 20_300).all()
    assert peak < pixels.nbytes / 3


def test_real_slides_are_embedded(run: Run) -> None:
    stated, unstated = (real(f"wsi/{n}") for n in ("cmu-1-small-region.svs", "kidney-48-5.tif"))
    features = embedded(run, stated, at=7).features
    assert len(features) > 3
    assert features.std(axis=0).max() > 1e-3  # tiles differ
    speck = embedded(run, unstated, at=0.5, um_per_px=0.5)  # all tissue of the slide
    assert 1 <= len(speck.table) < 10
    with pytest.raises(DataError, match=r"kidney-48-5\.tif does not state its µm per pixel"):
        embedded(run, unstated, at=3)


def test_slides_without_a_scale_and_other_mistakes_are_one_sentence(
    run: Run, folder: Path, slide: Path, tmp_path: Path
) -> None:
    pink = np.full((64, 128, 3), (225, 160, 200), np.uint8)
    unknown = write_slide(tmp_path / "unknown.svs", pink, None)
    with pytest.raises(DataError, match="does not state its µm per pixel; give it with --um"):
        embedded(run, unknown)
    assert len(embedded(run, unknown, um_per_px=3.5).table) == 8
    empty = write_slide(tmp_path / "empty.svs", np.full_like(pink, 245), 3.5)
    with pytest.raises(DataError, match=r"has no tissue tile of 32 px at 3\.5 µm"):
        embedded(run, empty)
    huge = tmp_path / "huge.png"  # only a header: nothing is decoded
    parts = (b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0), b"IDAT")
    packed = [struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts]
    huge.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    with pytest.raises(DataError, match="too large: cut it into patches first"):
        embedded(run, huge)
    with pytest.raises(DataError, match="Two patches have the id"):
        embedded(run, folder, folder)
    with pytest.raises(DataError, match="There is no file or folder"):
        embedded(run, tmp_path / "none")
    with pytest.raises(ConfigError, match="No inputs are given"):
        embedded(run)
    with pytest.raises(DataError, match="give it with --at"):
        open_inputs([str(slide)], replace(load_encoder(run.path), metadata=None))
    with pytest.raises(ConfigError, match=r"does not end in \.h5"):
        writer(tmp_path / "features.xls")
