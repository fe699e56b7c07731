"""Compare two runs, from their folders to the page."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from morefromless.analysis.explain import (
    Disagreements,
    _facts_of,
    _notes,
    _titles,
    cam_layer,
    disagreements,
    explain,
)
from morefromless.analysis.gradcam import gradcam, scaled
from morefromless.analysis.overlay import cams
from morefromless.cli import run
from morefromless.config import ExplainConfig, Probe, from_flat
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.evaluate import Answer, evaluate_branch
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.ingest import ingest
from morefromless.report.disagreements import write
from morefromless.runs import Run
from morefromless.sources.synthetic import Synthetic
from morefromless.tasks import build_task
from morefromless.training.train import train
from tests.conftest import changed, run_config

pytestmark = pytest.mark.xdist_group("explain")  # tests share a slow fixture

PROBE = {"probe_epochs": 5, "standardise": True}
Options = Callable[..., ExplainConfig]


@pytest.fixture(scope="module")
def runs(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    options: dict[str, dict[str, Any]] = {
        "asymmetric": {},
        "asymmetric-2": {"seed": 2, "epochs": 1, "privileged_size": 16},
        "symmetric": {"kind": "symmetric"},
        "seed-1": {"kind": "symmetric", "seed": 1, "epochs": 1},
        "larger": {"kind": "symmetric", "size": 48, "epochs": 1},
        "vit": {"kind": "symmetric", "encoder": "test_vit", "epochs": 1},
        "supervised": {"kind": "supervised"},
    }
    common = {"width": 32, "primary": "downsample:8"}
    return {
        name: train(run_config(tissue.path, folder / name, **common, **overrides)).path
        for name, overrides in options.items()
    }


@pytest.fixture(scope="module")
def page(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Disagreements:
    """Two runs compared, with all files written to the folder in the options."""
    out = tmp_path_factory.mktemp("explained") / "page"
    paths = {"run_a": str(runs["asymmetric"]), "run_b": str(runs["symmetric"]), "out": str(out)}
    result = explain(from_flat(ExplainConfig, {**paths, "thumbnail": 32, **PROBE}))
    write(result)
    return result


@pytest.fixture
def options(runs: dict[str, Path], tmp_path: Path) -> Options:
    def make_config(a: str = "asymmetric", b: str = "symmetric", **overrides: Any) -> ExplainConfig:
        paths = {"run_a": str(runs[a]), "run_b": str(runs[b]), "out": str(tmp_path / "page")}
        return from_flat(ExplainConfig, {**paths, "thumbnail": 32, **PROBE, **overrides})

    return make_config


def test_predictions_equal_those_of_the_runs(
    page: Disagreements, runs: dict[str, Path], tissue: Store
) -> None:
    rows = tissue.indices("test")
    assert page.ids == tuple(tissue.table["id"].iloc[rows])
    assert page.groups == tuple(tissue.table["group"].iloc[rows])
    np.testing.assert_array_equal(page.labels, tissue.labels[rows])
    for side, name in enumerate(("asymmetric", "symmetric")):
        [path] = runs[name].glob("predictions-primary-standardised-*.safetensors")
        np.testing.assert_array_equal(page.probabilities[side], load_file(path)["probabilities"])
        right = (page.predictions[side] == page.labels).sum()
        assert np.trace(page.confusion(side)) == right
        assert page.confusion(side).sum() == len(rows)
        likeliest = page.probabilities[side][np.arange(len(rows)), page.predictions[side]]
        np.testing.assert_array_equal(page.confidence[side], likeliest)
    differ = page.predictions[0] != page.predictions[1]
    assert set(page.gallery) == set(np.flatnonzero(differ))
    assert page.cams[0] is not None
    assert page.cams[0].shape == (len(page.gallery), 32, 32, 3)
    assert page.privileged is not None  # the asymmetric run was trained with the whole patch
    assert {name: (a, b) for name, a, b in page.facts} == {
        "run": (str(runs["asymmetric"]), str(runs["symmetric"])),
        "arm": ("asymmetric", "symmetric"),
        "weights": ("independent", "independent"),
        "objective": ("vicreg", "vicreg"),
        "encoder": ("test_resnet", "test_resnet"),
        "input, px": ("32", "32"),
        "epochs": ("2", "2"),
        "seed": ("0", "0"),
        "modality": ("downsample:8", "downsample:8"),
        "trained with": ("full", "–"),
    }
    assert "Pictures show the input of A (downsample:8) and, next to it, full." in page.notes
    assert not [note for note in page.notes if "different modalities" in note]
    a, _, differing = page.summary_lines()
    assert a.endswith(f"{np.trace(page.confusion(0))} of {len(rows)} test patches correct")
    assert differing == f"They disagree on {differ.sum()}."


def test_features_and_neighbours_equal_those_of_the_encoders(
    page: Disagreements, tissue: Store
) -> None:
    rows = tissue.indices("test")
    for side, answer in enumerate(page.answers):
        direct = answer.frozen.represent(tissue, rows).numpy()
        np.testing.assert_allclose(page.features[side], direct, rtol=1e-5, atol=1e-6)
        unit = direct / np.linalg.norm(direct, axis=1, keepdims=True)
        similarities = unit @ unit.T
        np.fill_diagonal(similarities, -np.inf)
        assert (page.neighbours[side][:, 0] == similarities.argmax(1)).mean() > 0.9


def test_equal_seeds_are_noted(page: Disagreements, options: Options) -> None:
    assert page.cka.equal_seeds
    assert [note for note in page.notes if "same seed" in note]
    other_seed = explain(options(b="seed-1"))
    assert not other_seed.cka.equal_seeds
    assert not [note for note in other_seed.notes if "same seed" in note]


def test_the_gallery_begins_with_the_most_confident_disagreement() -> None:
    p = np.array([[[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]], [[0.2, 0.8], [0.1, 0.9], [0.7, 0.3]]])
    np.testing.assert_array_equal(disagreements(p), [0, 1])
    np.testing.assert_array_equal(disagreements(p[:, ::-1]), [2, 1])


def test_full_gallery_ends_with_patches_of_agreement(options: Options) -> None:
    result = explain(options(gallery="all"))
    assert sorted(result.gallery) == list(range(len(result.ids)))
    differ = (result.predictions[0] != result.predictions[1])[result.gallery]
    assert not differ[differ.sum() :].any()


def test_encoders_of_different_kinds_sizes_and_tasks(options: Options, tissue: Store) -> None:
    sizes = explain(options(b="larger"))
    assert "Inputs differ in size: A at 32 px, B at 48 px." in sizes.notes
    kinds = explain(options(b="vit"))
    assert kinds.cams[0] is not None
    assert kinds.cams[1] is None
    assert [note for note in kinds.notes if note.startswith("B's encoder has no feature maps")]
    assert (len(kinds.cka.rows), len(kinds.cka.columns)) == kinds.cka.mean.shape
    heads = explain(options(b="supervised"))
    assert heads.titles == ("asymmetric, independent, seed 0", "supervised, seed 0")
    assert {name: b for name, _, b in heads.facts}["objective"] == "–"
    assert [note for note in heads.notes if "may differ from those of their study" in note]
    head = heads.answers[1]
    notes_of_heads = list(_notes(head, head, heads.store, heads.cka, heads.config))
    assert notes_of_heads
    assert not [note for note in notes_of_heads if "may differ from those of their study" in note]
    cells = explain(options(b="seed-1", task="cell"))
    labelled = tissue.select(task=build_task("cell"))
    assert cells.classes == labelled.classes
    assert cells.labels.tolist() == labelled.labels[cells.rows].tolist()


def test_privileged_branches_are_compared(options: Options) -> None:
    result = explain(options(branch="privileged", b="asymmetric-2"))
    facts = {name: (a, b) for name, a, b in result.facts}
    assert facts["modality"] == ("full", "full")
    assert facts["trained with"] == ("downsample:8", "downsample:8")
    assert facts["input, px"] == ("32", "16")
    assert result.privileged is None  # no view is denser than the whole patch
    a = result.answers[0]
    assert a.frozen.config is not None
    config = changed(a.frozen.config, privileged_encoder="test_vit")
    facts_of_a = dict(_facts_of(replace(a, frozen=replace(a.frozen, config=config))))
    assert facts_of_a["encoder"] == "test_vit"


def test_all_files_are_written(page: Disagreements) -> None:
    out = page.config.out
    names = {path.name for path in out.iterdir()}
    for stem in ("confusion", "cka", "cka-diagonal", "features", "gradcam-first", "gradcam-stages"):
        assert {f"{stem}.{kind}" for kind in ("csv", "svg", "pdf", "png")} <= names
    assert "index.html" in names
    assert all(path.stat().st_size > 100 for path in out.rglob("*.*"))
    patches = pd.read_csv(out / "patches.csv")
    differ = patches["predicted_a"] != patches["predicted_b"]
    assert differ.sum() == len(page.gallery)
    assert not differ.iloc[differ.sum() :].any()  # disagreements first
    np.testing.assert_allclose(
        pd.read_csv(out / "cka.csv")["cka"], page.cka.mean.ravel(), rtol=1e-6
    )


def test_the_cams_of_a_page_are_gradcams(runs: dict[str, Path], tissue: Store) -> None:
    """The brightest pixels are at the maximum of the map, at the picture's own size."""
    answer = evaluate_branch(
        Run.open(runs["asymmetric"]), "primary", tissue, Probe(**PROBE), "tissue"
    )
    rows = tissue.indices("test")[:6]
    layer = "network.layer1.0.conv1"
    pictures = cams(answer, tissue, rows, [layer], 32, "cpu")[layer]
    images = answer.frozen.render(tissue, rows)
    maps = gradcam(answer.classifier, images, [f"encoder.{layer}"])[f"encoder.{layer}"]
    heat_maps = scaled(maps, 32)
    for picture, heat_map in zip(pictures, heat_maps, strict=True):
        if heat_map.max() == 0:
            continue
        hottest, coldest = heat_map >= heat_map.quantile(0.95), heat_map <= heat_map.quantile(0.05)
        red = torch.from_numpy(picture[..., 0].astype(np.float32))
        assert red[hottest].mean() > red[coldest].mean()


def test_layers_are_measured_on_the_device_of_the_encoder(
    runs: dict[str, Path], tissue: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = evaluate_branch(
        Run.open(runs["asymmetric"]), "primary", tissue, Probe(**PROBE), "tissue"
    )
    answer.frozen.encoder.to("meta")  # like an encoder that is still on a GPU
    monkeypatch.setattr(FrozenEncoder, "render", lambda *arguments: str(arguments[-1]))
    monkeypatch.setattr(
        "morefromless.analysis.explain.last_gradcam_layer", lambda _, images: images
    )
    assert cam_layer(answer) == "meta"


def test_invalid_input_is_refused_in_one_sentence(options: Options, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is given twice"):
        explain(options(b="asymmetric"))
    with pytest.raises(ConfigError, match="has no branch 'privileged', only primary"):
        explain(options(branch="privileged"))
    with pytest.raises(ConfigError, match=r"no layer 'network.conv'; did you mean"):
        explain(options(layers="network.conv"))
    with pytest.raises(ConfigError, match=r"no layer 'network.layer1.0.conv'; did you mean"):
        explain(options(cam_layer="network.layer1.0.conv"))
    with pytest.raises(DataError, match="has no patch 'patient-'"):
        write(explain(options(show=["patient-"])))
    with pytest.raises(ConfigError, match="--cka-batch is 3; give 4 or more"):
        options(cka_batch=3)
    with pytest.raises(ConfigError, match="holds no run"):
        explain(replace(options(), run_a=tmp_path))


def test_runs_on_other_patches_are_refused(options: Options, tmp_path: Path) -> None:
    other_store = tmp_path / "other"
    ingest(Synthetic(patches=90, patients=6, size=32, seed=1), other_store, progress=False)
    trained = train(run_config(other_store, tmp_path / "run", width=16, epochs=1))
    with pytest.raises(DataError, match="no common test patches"):
        explain(replace(options(), run_b=trained.path))


def test_removed_probe_is_fitted_again(
    page: Disagreements, options: Options, runs: dict[str, Path]
) -> None:
    [probe] = runs["symmetric"].glob("probe-primary-standardised-*.safetensors")
    probe.unlink()
    np.testing.assert_array_equal(explain(options()).probabilities, page.probabilities)
    assert probe.is_file()


def test_the_command_writes_the_same_bytes(
    page: Disagreements, runs: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    out, first = tmp_path / "page", page.config.out
    arguments = ["explain", str(runs["asymmetric"]), str(runs["symmetric"]), "--out", str(out)]
    arguments += ["--probe-epochs", "5", "--standardise", "--thumbnail", "32"]
    assert run(arguments) == 0
    assert "They disagree on" in capsys.readouterr().out
    names = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert len(names) > 25
    assert sorted(path.relative_to(out) for path in out.rglob("*.*")) == names
    assert [n for n in names if (first / n).read_bytes() != (out / n).read_bytes()] == []
    assert run([*arguments, "--layers", "nothing"]) == 2
    assert "has no layer 'nothing'" in capsys.readouterr().err


def test_runs_of_equal_name_are_distinguished_by_folder() -> None:
    answers = [
        SimpleNamespace(frozen=SimpleNamespace(title="t", folder_name="run", folder=Path(p, "run")))
        for p in "ab"
    ]
    assert _titles(*cast(list[Answer], answers)) == ("t (a/run)", "t (b/run)")
