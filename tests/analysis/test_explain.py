"""Two runs held against each other, from their folders to the page."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from morefromless.analysis.explain import explain
from morefromless.analysis.explanation import disagreements
from morefromless.analysis.gradcam import gradcam, scaled
from morefromless.analysis.judged import judged
from morefromless.analysis.overlay import cams
from morefromless.cli import run
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.ingest import ingest
from morefromless.options import (
    ExplainOptions,
    PretrainOptions,
    ProbeOptions,
    SuperviseOptions,
)
from morefromless.report.explained import write_explained
from morefromless.runs import Run
from morefromless.sources.synthetic import Synthetic
from morefromless.training.pretrain import pretrain
from morefromless.training.supervised import supervise
from tests.conftest import TINY

pytestmark = pytest.mark.xdist_group("explain")  # share a fixture that takes long

PROBE: dict[str, Any] = {"probe_epochs": 5, "standardise": True}


@pytest.fixture(scope="module")
def runs(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    common: dict[str, Any] = {**TINY, "store": tissue.path, "primary": "downsample:8"}
    made = {
        name: pretrain(PretrainOptions(**{**common, "out": folder / name, "width": 32, **given}))
        for name, given in {
            "asymmetric": {},
            "symmetric": {"arm": "symmetric"},
            "larger": {"size": 48, "arm": "symmetric", "epochs": 1},
            "vit": {"encoder": "test_vit", "arm": "symmetric", "epochs": 1},
        }.items()
    }
    made["supervised"] = supervise(SuperviseOptions(**common, out=folder / "supervised"))
    return {name: one.path for name, one in made.items()}


@pytest.fixture
def options(runs: dict[str, Path], tmp_path: Path) -> Callable[..., ExplainOptions]:
    def of(a: str = "asymmetric", b: str = "symmetric", **given: Any) -> ExplainOptions:
        usual = {"out": tmp_path / "page", "thumbnail": 32, **PROBE}
        return ExplainOptions(run_a=runs[a], run_b=runs[b], **{**usual, **given})

    return of


def test_what_is_said_of_the_patches_is_what_the_runs_predict(
    options: Callable[..., ExplainOptions], runs: dict[str, Path], tissue: Store
) -> None:
    found = explain(options())
    told = found.explanation
    rows = tissue.indices("test")
    assert told.ids == tuple(tissue.table["id"].iloc[rows])
    np.testing.assert_array_equal(told.labels, tissue.labels[rows])
    for side, name in enumerate(("asymmetric", "symmetric")):
        with np.load(runs[name] / "predictions-primary-standardised-5-0.001.npz") as file:
            np.testing.assert_array_equal(told.probabilities[side], file["probabilities"])
        hits = np.trace(told.confusion(side))
        assert hits == (told.predictions[side] == told.labels).sum()
    apart = told.predictions[0] != told.predictions[1]
    assert set(told.gallery) == set(np.flatnonzero(apart))
    assert told.cams[0] is not None
    assert told.cams[0].shape == (len(told.gallery), 32, 32, 3)
    assert told.privileged is not None  # the asymmetric run saw the whole patch
    assert {name: (a, b) for name, a, b in told.facts}["trained with"] == ("full", "–")
    assert told.groups == tuple(tissue.table["group"].iloc[rows])


def test_the_gallery_begins_with_the_surest_disagreement() -> None:
    p = np.array([[[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]], [[0.2, 0.8], [0.1, 0.9], [0.7, 0.3]]])
    np.testing.assert_array_equal(disagreements(p), [0, 1])
    np.testing.assert_array_equal(disagreements(p[:, ::-1]), [2, 1])


def test_the_whole_gallery_ends_with_those_they_agree_on(
    options: Callable[..., ExplainOptions],
) -> None:
    told = explain(options(gallery="all")).explanation
    assert sorted(told.gallery) == list(range(len(told.ids)))
    same = told.predictions[0] == told.predictions[1]
    assert same[told.gallery[-1]]


def test_encoders_of_other_kinds_and_sizes_are_held_against_each_other(
    options: Callable[..., ExplainOptions],
) -> None:
    sizes = explain(options(b="larger"))
    assert any("A at 32 px, B at 48 px" in note for note in sizes.explanation.notes)
    kinds = explain(options(b="vit"))
    assert kinds.explanation.cams[1] is None
    assert any("B's encoder has no feature maps" in note for note in kinds.explanation.notes)
    assert (len(kinds.alike.rows), len(kinds.alike.columns)) == kinds.alike.mean.shape
    heads = explain(options(b="supervised"))
    assert "supervised" in heads.explanation.titles[1]


def test_everything_is_written(options: Callable[..., ExplainOptions]) -> None:
    chosen = options()
    found = explain(chosen)
    written = write_explained(found)
    names = {path.name for path in written}
    for stem in ("confusion", "cka", "cka-diagonal", "features", "gradcam-first", "gradcam-stages"):
        assert {f"{stem}.{kind}" for kind in ("csv", "svg", "pdf", "png")} <= names
    assert written[-1] == chosen.out / "index.html"
    assert all(path.stat().st_size > 100 for path in written)
    patches = pd.read_csv(chosen.out / "patches.csv")
    apart = patches["predicted_a"] != patches["predicted_b"]
    assert apart.sum() == len(found.explanation.gallery)
    assert not apart.iloc[apart.sum() :].any()  # disagreements first
    held = pd.read_csv(chosen.out / "cka.csv")
    np.testing.assert_allclose(held["cka"], found.alike.mean.ravel(), rtol=1e-6)


def test_the_cams_of_a_page_are_gradcams(runs: dict[str, Path], tissue: Store) -> None:
    """Brightest where the map is highest, at the picture's own size."""
    one = judged(
        Run.open(runs["asymmetric"]), "primary", tissue, ProbeOptions(**PROBE), "tissue", "cpu"
    )
    rows = tissue.indices("test")[:6]
    layer = "network.layer1.0.conv1"
    made = cams(one, rows, [layer], 32, "cpu")[layer]
    maps = gradcam(one.classifier, one.sight.see(rows), [f"encoder.{layer}"])[f"encoder.{layer}"]
    heat = scaled(maps, 32)
    for picture, own in zip(made, heat, strict=True):
        if own.max() == 0:
            continue
        hottest, coldest = own >= own.quantile(0.95), own <= own.quantile(0.05)
        red = torch.from_numpy(picture[..., 0].astype(np.float32))
        assert red[hottest].mean() > red[coldest].mean()


def test_bad_input_is_one_sentence(options: Callable[..., ExplainOptions], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is given twice"):
        explain(options(b="asymmetric"))
    with pytest.raises(ConfigError, match="has no branch 'privileged', only primary"):
        explain(options(branch="privileged"))
    with pytest.raises(ConfigError, match=r"no layer 'network.conv'; did you mean"):
        explain(options(layers="network.conv"))
    with pytest.raises(ConfigError, match=r"no layer 'network.layer1.0.conv'; did you mean"):
        explain(options(cam_layer="network.layer1.0.conv"))
    with pytest.raises(DataError, match="has no patch 'patient-'"):
        write_explained(explain(options(show=("patient-",))))
    with pytest.raises(ConfigError, match="--batch is 3; give 4 or more"):
        options(batch=3)
    with pytest.raises(ConfigError, match="holds no run"):
        explain(replace(options(), run_a=tmp_path))


def test_runs_on_other_patches_are_refused(
    options: Callable[..., ExplainOptions], tmp_path: Path
) -> None:
    ingest(Synthetic(patches=90, patients=6, size=32, seed=1), tmp_path / "other", progress=False)
    other = pretrain(
        PretrainOptions(
            store=tmp_path / "other", out=tmp_path / "run", width=16, **{**TINY, "epochs": 1}
        )
    )
    with pytest.raises(DataError, match="no test patches in common"):
        explain(replace(options(), run_b=other.path))


def test_a_run_whose_probe_was_removed_says_so(
    options: Callable[..., ExplainOptions], runs: dict[str, Path]
) -> None:
    explain(options())
    probe = runs["symmetric"] / "probe-primary-standardised-5-0.001.safetensors"
    held = probe.read_bytes()
    probe.unlink()
    try:
        with pytest.raises(ConfigError, match="has no probe of branch 'primary'"):
            explain(options())
    finally:
        probe.write_bytes(held)


def test_a_class_without_test_patches_and_fewer_patches_than_a_batch(
    options: Callable[..., ExplainOptions],
) -> None:
    """36 test patches are one batch of 36; an absent class is an empty row, not NaN."""
    found = explain(options())
    assert len(found.rows) < options().batch
    counts = found.explanation.confusion(0)
    counts[0] = 0
    from morefromless.report.confusion import by_row

    shares = by_row(counts)
    assert np.isnan(shares[0]).all()
    np.testing.assert_allclose(shares[1:].sum(axis=1), 1)


def test_the_command(runs: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "page"
    words = [
        "explain",
        str(runs["asymmetric"]),
        str(runs["symmetric"]),
        "--out",
        str(out),
        "--probe-epochs",
        "5",
        "--standardise",
        "--thumbnail",
        "32",
    ]
    assert run(words) == 0
    assert "They disagree on" in capsys.readouterr().out
    assert (out / "index.html").is_file()
    assert run([*words, "--layers", "nothing"]) == 2
    assert "has no layer 'nothing'" in capsys.readouterr().err
