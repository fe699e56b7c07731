"""Representations of a comparison's arms, from its folder to tables and figures."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from morefromless.cli import run
from morefromless.comparison.compare import compare
from morefromless.comparison.represent import represent
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.options import CompareOptions, RepresentOptions
from morefromless.report.represented import report, write_figures
from morefromless.report.table import report as table
from tests.conftest import TINY

pytestmark = pytest.mark.xdist_group("represent")  # share a fixture that takes long

PROBE: dict[str, Any] = {"probe_epochs": 5, "standardise": True}


@pytest.fixture(scope="module")
def compared(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms with two seeds, one epoch each."""
    out = tmp_path_factory.mktemp("compare")
    options = CompareOptions(
        store=tissue.path,
        out=out,
        primary=("downsample:8",),
        seeds=2,
        jobs=1,
        width=32,
        sharing=("independent",),
        **{**TINY, "epochs": 1},
    )
    table(compare(options)).write(out, "comparison")
    return out


@pytest.fixture
def options(compared: Path, tmp_path: Path) -> RepresentOptions:
    return RepresentOptions(comparison=compared, out=tmp_path / "represented", **PROBE)


def test_every_arm_and_untrained_encoders_with_it(options: RepresentOptions, tissue: Store) -> None:
    found = represent(options)
    arms = ["asymmetric, independent", "symmetric, independent", "supervised", "random"]
    assert list(found.arms) == arms[:3]
    assert {(one.a, one.b): len(one.each) for one in found.alike} == {
        (a, b): 2 if a == b else 4 for place, a in enumerate(arms) for b in arms[place:]
    }
    by_arms = {(one.a, one.b): one for one in found.alike}
    own = by_arms["random", "random"]
    assert np.isfinite(own.mean).all()
    np.testing.assert_allclose(own.mean, own.mean.T)
    tested = len(tissue.indices("test"))
    assert all(counts.sum() == 2 * tested for counts in found.confusion.values())


def test_everything_is_written(options: RepresentOptions) -> None:
    found = represent(replace(options, arms=("asymmetric-independent", "random")))
    assert list(found.arms) == ["asymmetric, independent"]
    made = report(found)
    written = [*made.write(found.out, "representations"), *write_figures(found)]
    assert {path.name for path in written} >= {
        f"{stem}.{kind}"
        for stem in (
            "cka",
            "cka-diagonal",
            "confusion",
            "gradcam-first",
            "gradcam-stages",
            "features",
        )
        for kind in ("svg", "pdf", "png", "csv")
    }
    made.show(Console(quiet=True))
    told = json.loads((found.out / "representations.json").read_text())
    assert told["alike"][0]["combinations"] == 2
    lines = pd.read_csv(found.out / "cka.csv")
    one = found.alike[0]
    cells = lines[(lines["a"] == one.a) & (lines["b"] == one.b)]
    np.testing.assert_allclose(cells["cka"], one.mean.ravel(), rtol=1e-6)
    text = (found.out / "representations.md").read_text()
    assert f"{one.diagonal.mean():.2f} ±" in text


def test_biased_cka_is_of_all_patches_at_once(options: RepresentOptions) -> None:
    one = represent(replace(options, estimator="biased", arms=("supervised",)))
    assert one.alike[0].mean.min() >= 0  # which unbiased need not be


def test_bad_input_is_one_sentence(
    options: RepresentOptions, compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="holds no finished comparison"):
        represent(replace(options, comparison=tmp_path))
    with pytest.raises(ConfigError, match="has no primary 'full', only downsample:8"):
        represent(replace(options, primary="full"))
    with pytest.raises(ConfigError, match="Untrained encoders alone say nothing"):
        represent(replace(options, arms=("random",)))
    with pytest.raises(ConfigError, match="has no arm 'trident'; it has asymmetric-independent"):
        represent(replace(options, arms=("trident",)))
    assert run(["represent", str(compared), "--layers", "conv9"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "no layer 'conv9'" in said
    weights = next(compared.glob("runs/supervised*/weights.safetensors"))
    held = weights.rename(weights.with_suffix(".away"))
    try:
        with pytest.raises(ConfigError, match=r"1 of 6 runs of .+ are not finished"):
            represent(options)
    finally:
        held.rename(weights)


def test_a_comparison_whose_folders_moved_together(
    options: RepresentOptions, compared: Path, tissue: Store, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(compared, tmp_path / "moved" / "compare"))
    shutil.move(folder / "runs", tmp_path / "moved" / "shared")
    path = folder / "comparison.json"
    told = json.loads(path.read_text())
    told["options"] |= {"store": "gone", "out": "made/compare", "runs": "made/shared"}
    path.write_text(json.dumps(told))
    moved = replace(options, comparison=folder, store=tissue.path, arms=("supervised",))
    assert len(represent(moved, cka=False).arms["supervised"]) == 2
