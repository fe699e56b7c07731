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


def embed_inputs(run: Run, *inputs: Any, **options: Any) -> Embedding:
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


def assert_close(features: np.ndarray, expected: torch.Tensor) -> None:
    torch.testing.assert_close(torch.from_numpy(features), expected, rtol=1e-3, atol=1e-4)


def test_all_kinds_of_input_give_the_same_features(
    run: Run, tissue: Store, folder: Path, slide: Path, expected: torch.Tensor, tmp_path: Path
) -> None:
    from_store = embed_inputs(run, tissue.path)
    assert from_store.table["id"].tolist() == tissue.table["id"].tolist()
    assert from_store.table["label"].tolist() == tissue.table["label"].tolist()
    assert_close(from_store.features[:24], expected)
    assert (
        repr(from_store)
        == f"Embedding({len(tissue.table)} patches x {from_store.features.shape[1]} features)"
    )
    from_folder = embed_inputs(run, folder)
    assert from_folder.table["id"].tolist() == [f"{row}.png" for row in range(8)]
    assert from_folder.table["label"].isna().all()
    assert_close(from_folder.features, expected[:8])
    table = tmp_path / "pairs.csv"
    table.write_text("id,he\n" + "".join(f"p{k},{folder}/{k}.png\n" for k in range(8)))
    assert_close(embed_inputs(run, table).features, expected[:8])
    assert_close(embed_inputs(run, folder / "3.png").features, expected[3:4])
    tiles = embed_inputs(run, slide)
    corners = tiles.table[["x", "y"]].to_numpy(int) // SIDE - 2
    assert_close(tiles.features, expected[corners[:, 1] * 6 + corners[:, 0]])
    assert 12 < len(corners) < 24  # pale tissue is excluded
    assert tiles.attributes["patch_size_level0"] == pytest.approx(SIDE)


def test_every_format_contains_the_same_features(
    run: Run, slide: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = embed_inputs(run, slide, folder)
    for suffix in ("h5", "parquet", "csv", "npz", "h5ad"):
        file = tmp_path / f"features.{suffix}"
        arguments = ["embed", str(run.path), str(slide), str(folder), "--to", str(file)]
        assert cli.run(arguments) == 0
        assert "x 96 features" in capsys.readouterr().out.replace("\n", " ")
        assert not file.with_name(f"{file.name}.partial").exists()
    width = expected.features.shape[1]
    with h5py.File(tmp_path / "features.h5") as h5:
        np.testing.assert_array_equal(h5["features"], expected.features)
        positions = expected.table[["x", "y"]].astype(float).fillna(-1)
        np.testing.assert_array_equal(h5["coords"], positions)
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


def test_csv_quotes_ids_that_look_like_formulas(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "patches").mkdir()
    shutil.copy(folder / "3.png", tmp_path / "patches" / "=1+1.png")
    writer(tmp_path / "a.csv")(embed_inputs(run, tmp_path / "patches"), tmp_path / "a.csv")
    assert pd.read_csv(tmp_path / "a.csv")["id"].tolist() == ["'=1+1.png"]


def test_unknown_labels_are_missing(run: Run, tissue: Store, folder: Path, tmp_path: Path) -> None:
    embedding = embed_inputs(run, folder, tissue.path)
    writer(tmp_path / "features.h5ad")(embedding, tmp_path / "features.h5ad")
    labels = anndata.read_h5ad(tmp_path / "features.h5ad").obs["label"]
    assert labels[:8].isna().all()
    assert labels[8:].tolist() == tissue.table["label"].tolist()
    assert labels.cat.categories.tolist() == list(tissue.classes)


def test_interrupted_embedding_resumes(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATCHES_PER_PART", 4)
    frozen = load_encoder(run.path)
    patches = Path(shutil.copytree(folder, tmp_path / "patches"))
    inputs = open_inputs(patches, frozen)
    original_read, reads = inputs[0].read, []

    def interrupting_read(row: int) -> Any:
        reads.append(row)
        if len(reads) == 6:
            raise KeyboardInterrupt
        return original_read(row)

    monkeypatch.setattr(inputs[0], "read", interrupting_read)
    partial = patches / "features.npz.partial"  # a folder next to the patches
    with pytest.raises(KeyboardInterrupt):
        embed(frozen, inputs, partial=partial, progress=False)
    (patches / "nohup.out").write_text("interrupted")
    reads.clear()
    resumed = embed(frozen, inputs, partial=partial, progress=False)
    assert sorted(reads)[0] == 4
    np.testing.assert_array_equal(resumed.features, embed_inputs(run, folder).features)


def test_folders_with_equal_names_are_distinguished(run: Run, folder: Path, tmp_path: Path) -> None:
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
        np.testing.assert_array_equal(parts.features, embed_inputs(run, patches).features)


def test_parts_of_changed_files_are_not_reused(
    run: Run, tissue: Store, folder: Path, tmp_path: Path
) -> None:
    patches = Path(shutil.copytree(folder, tmp_path / "patches"))
    frozen = load_encoder(run.path)
    for _ in range(2):
        opened = open_inputs([patches], frozen)
        parts = embed(frozen, opened, partial=tmp_path / "partial", progress=False)
        np.testing.assert_array_equal(parts.features, embed_inputs(run, patches).features)
        Image.fromarray(np.asarray(tissue.array("he")[9])).save(patches / "3.png")


@pytest.mark.filterwarnings("error")
def test_inputs_with_different_metadata_are_joined(
    run: Run, tissue: Store, folder: Path, slide: Path
) -> None:
    inputs = open_inputs([folder, slide, tissue.path], load_encoder(run.path))
    types = [patches.table.dtypes.to_dict() for patches in inputs]
    assert types == types[:1] * 3  # pandas keeps the types of empty columns
    table = embed_inputs(run, folder, slide, tissue.path).table
    assert table["x"].notna().sum() == len(embed_inputs(run, slide).table)
    assert table["split"].notna().sum() == len(tissue.table)


def test_name_that_is_not_utf8_is_refused(run: Run, slide: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"Schnitt_\xe4.svs")
    shutil.copy(slide, path)
    with pytest.raises(DataError, match=r"Schnitt_\\udce4\.svs' is not in UTF-8; rename it"):
        embed_inputs(run, path)


def test_other_files_in_a_folder_of_patches_are_counted(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    patches = Path(shutil.copytree(folder, tmp_path / "patches"))
    (patches / "8.gif").touch()
    frozen = load_encoder(run.path)
    notes = [*remarks(open_inputs([patches], frozen, 3.5), frozen)]
    assert notes == ["Skipped in patches: 1 x file ending in '.gif'."]


def test_folder_without_images_is_refused(run: Run, tmp_path: Path) -> None:
    frozen = load_encoder(run.path)
    with pytest.raises(DataError, match=r"has no patches; check the path"):
        open_inputs(tmp_path, frozen)
    (tmp_path / "patches.npz").touch()
    with pytest.raises(DataError, match=r"no patches, only 1 x file ending in '\.npz'; check the"):
        open_inputs(tmp_path, frozen)


def test_unreadable_folders_are_counted(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = Path(shutil.copytree(folder, tmp_path / "patches"))
    (patches / "lost+found").mkdir()
    refuse_to_list(monkeypatch, patches / "lost+found")
    frozen = load_encoder(run.path)
    (opened,) = open_inputs(patches, frozen)
    assert len(opened) == 8
    assert "1 x folder 'lost+found' (permission denied)" in "".join(remarks([opened], frozen))


def test_unusable_images_are_counted_by_reason(
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
    output = " ".join(capsys.readouterr().out.split())
    for reason in ("16-bit image: convert", "grey image: convert", "colours not RGB: mode CMYK"):
        assert f"1 rejected: {reason}" in output
    assert "1 rejected: not square: 32 x 16" in output
    assert "1 rejected: several pages or frames" in output
    assert "8 patches x" in output
    for name in [*(f"{row}.png" for row in range(8))]:
        (mixed / name).unlink()
    assert cli.run(arguments) == 2
    assert "None of the 6 patches can be used" in capsys.readouterr().err


def test_unusable_slides_of_a_folder_are_skipped(
    run: Run, slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "slides"
    root.mkdir()
    (root / "broken.svs").write_bytes(b"nothing")
    write_slide(root / "scaleless.svs", np.full((64, 128, 3), (225, 160, 200), np.uint8), None)
    with pytest.raises(DataError, match=r"broken\.svs"):
        embed_inputs(run, root)
    shutil.copy(slide, root)
    arguments = ["embed", str(run.path), str(root), "--to", str(tmp_path / "f.npz")]
    assert cli.run(arguments) == 0
    output = capsys.readouterr().out
    assert "1 rejected: unreadable slide: " in output
    assert "1 rejected: magnification unknown: " in output
    np.testing.assert_array_equal(
        embed_inputs(run, root).features, embed_inputs(run, slide).features
    )


def test_slide_coarser_than_the_training_is_refused(run: Run, slide: Path, tmp_path: Path) -> None:
    pixels = np.asarray(tifffile.imread(slide))
    coarse = write_slide(tmp_path / "coarse.svs", pixels, 7)
    with pytest.raises(DataError, match=r"coarse\.svs has 7 µm per px at best, coarser than 3\.5;"):
        embed_inputs(run, coarse)
    assert len(embed_inputs(run, coarse, at=7).table)
    assert len(embed_inputs(run, write_slide(tmp_path / "nearly.svs", pixels, 3.7)).table)


def test_folder_of_tiff_slides_is_read_as_slides(
    run: Run, tissue: Store, slide: Path, tmp_path: Path
) -> None:
    pixels = np.full((1100, 1100, 3), 245, np.uint8)
    pixels[:256, :512] = tifffile.imread(slide)
    (tmp_path / "slides/deep").mkdir(parents=True)
    path = write_slide(tmp_path / "slides/deep/square.tif", pixels, tissue.um_per_px)
    from_folder, from_file = embed_inputs(run, tmp_path / "slides"), embed_inputs(run, path)
    assert len(from_folder.table) == len(from_file.table) > 1
    np.testing.assert_array_equal(from_folder.features, from_file.features)
    patch = Image.fromarray(np.asarray(tissue.array("he")[0]))
    (tmp_path / "patches").mkdir()
    patch.save(tmp_path / "patches/patch.tif")
    assert len(embed_inputs(run, tmp_path / "patches").table) == 1


def test_damaged_tiles_of_a_slide_share_one_reason(
    run: Run, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [patches] = open_inputs([slide], load_encoder(run.path))
    original_read = patches.slide.read

    def damaged_read(x: int, y: int, *size: float) -> Any:
        if x >= 128:
            raise UnreadablePatch(f"damaged: the slide cannot be read at x {x}, y {y}")
        return original_read(x, y, *size)

    monkeypatch.setattr(patches.slide, "read", damaged_read)
    embedding = embed(load_encoder(run.path), [patches], progress=False)
    [(reason, count)] = embedding.rejected.items()
    assert reason == "damaged: these tiles of slide.svs cannot be read; download it again"
    assert len(embedding.table) + count == len(patches) > count > 1


def test_nuclei_encoder_refuses_images(run: Run, folder: Path, slide: Path) -> None:
    frozen = replace(load_encoder(run.path), modality_spec="nuclei")
    for path in (folder / "3.png", slide):
        with pytest.raises(
            DataError, match=r"contains images, but the encoder takes nuclei; give a"
        ):
            open_inputs([str(path)], frozen)
    with pytest.raises(DataError, match="no nuclei: this patch does not have it"):
        embed(frozen, open_inputs([str(folder)], frozen), progress=False)


def test_slides_with_equal_names_are_refused(run: Run, slide: Path, tmp_path: Path) -> None:
    """Their tissue, and therefore the ids of their tiles, may differ."""
    pixels = np.asarray(tifffile.imread(slide))
    scale = load_encoder(run.path).um_per_px
    other_slide = write_slide(tmp_path / slide.name, np.roll(pixels, 256, axis=1), scale)
    with pytest.raises(
        DataError, match=r"Two slides have the name slide\.svs, .* separate commands"
    ):
        embed_inputs(run, slide, other_slide)


def test_magnification_and_size_mismatches_show_both_values(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=r"1\.3 µm per pixel, but the encoder was trained at 3\.5"):
        embed_inputs(run, folder, um_per_px=1.3)
    embed_inputs(run, folder, um_per_px=1.3, at=1.3)
    with pytest.raises(DataError, match=r"1\.3 µm per pixel, but --at requests 2; rescale"):
        embed_inputs(run, folder, um_per_px=1.3, at=2.0)
    large = tmp_path / "large"
    large.mkdir()
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(large / "a.png")
    out = str(tmp_path / "f.npz")
    assert cli.run(["embed", str(run.path), str(large), "--to", out]) == 0
    message = " ".join(capsys.readouterr().out.split())
    assert "patches of 48 px, and the encoder was trained on 32 px" in message
    assert "does not state its magnification, and the encoder was trained at 3.5 µm" in message
    unknown = SimpleNamespace(um_per_px=None, side=32)
    opened = open_inputs([str(folder)], load_encoder(run.path), 3.5)
    [message] = remarks(opened, unknown)
    assert "3.5 µm per pixel" in message
    assert "not compared" in message
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
    features = embed_inputs(run, path, at=0.5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 1 <= len(features.table) < 40
    assert features.table["x"].astype(int).between(19_900, 20_300).all()
    assert peak < pixels.nbytes / 3


def test_real_slides_are_embedded(run: Run) -> None:
    stated, unstated = (real(f"wsi/{n}") for n in ("cmu-1-small-region.svs", "kidney-48-5.tif"))
    features = embed_inputs(run, stated, at=7).features
    assert len(features) > 3
    assert features.std(axis=0).max() > 1e-3  # tiles differ
    speck = embed_inputs(run, unstated, at=0.5, um_per_px=0.5)  # all tissue of the slide
    assert 1 <= len(speck.table) < 10
    with pytest.raises(DataError, match=r"kidney-48-5\.tif does not state its µm per pixel"):
        embed_inputs(run, unstated, at=3)


def test_slides_without_a_scale_and_invalid_inputs_are_refused(
    run: Run, folder: Path, slide: Path, tmp_path: Path
) -> None:
    pink = np.full((64, 128, 3), (225, 160, 200), np.uint8)
    unknown = write_slide(tmp_path / "unknown.svs", pink, None)
    with pytest.raises(DataError, match="does not state its µm per pixel; give it with --um"):
        embed_inputs(run, unknown)
    assert len(embed_inputs(run, unknown, um_per_px=3.5).table) == 8
    empty = write_slide(tmp_path / "empty.svs", np.full_like(pink, 245), 3.5)
    with pytest.raises(DataError, match=r"has no tissue tile of 32 px at 3\.5 µm"):
        embed_inputs(run, empty)
    huge = tmp_path / "huge.png"  # only a header: nothing is decoded
    parts = (b"IHDR" + struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0), b"IDAT")
    chunks = [struct.pack(">I", len(p) - 4) + p + struct.pack(">I", zlib.crc32(p)) for p in parts]
    huge.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(DataError, match="too large: cut it into patches first"):
        embed_inputs(run, huge)
    with pytest.raises(DataError, match="Two patches have the id"):
        embed_inputs(run, folder, folder)
    with pytest.raises(DataError, match="There is no file or folder"):
        embed_inputs(run, tmp_path / "none")
    with pytest.raises(ConfigError, match="No inputs are given"):
        embed_inputs(run)
    with pytest.raises(DataError, match="give it with --at"):
        open_inputs([str(slide)], replace(load_encoder(run.path), metadata=None))
    with pytest.raises(ConfigError, match=r"does not end in \.h5"):
        writer(tmp_path / "features.xls")
