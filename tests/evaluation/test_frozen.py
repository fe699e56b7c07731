"""Frozen encoders: loading without a store, and features equal to those of a plain loop."""

import importlib
import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from morefromless import cli
from morefromless.config import Probe, RunConfig
from morefromless.data.store import Store
from morefromless.encoders import build_encoder
from morefromless.errors import ConfigError, DataError, TrainingError
from morefromless.evaluation.calibration import calibrate
from morefromless.evaluation.evaluate import evaluate, evaluate_branch, evaluate_encoder, open_store
from morefromless.evaluation.frozen import BATCH_SIZE, random_encoder, represent
from morefromless.evaluation.loading import load_encoder, load_encoders
from morefromless.evaluation.metadata import EncoderMetadata
from morefromless.probes import LinearProbe
from morefromless.runs import Run
from morefromless.training.pretrain import pretrain
from tests.conftest import changed, run_config

PROBE = Probe(probe_epochs=5)


@pytest.fixture
def moved_runs(trained: dict[str, Run], tmp_path: Path) -> dict[str, Run]:
    """Copies of the runs in another folder, without their store."""
    return {
        kind: Run(Path(shutil.copytree(run.path, tmp_path / kind))) for kind, run in trained.items()
    }


def test_features_of_a_moved_run_match_a_plain_loop(
    moved_runs: dict[str, Run], tissue: Store
) -> None:
    encoders = load_encoders(moved_runs["asymmetric"])
    assert list(encoders) == ["primary", "privileged"]
    assert encoders["primary"].modality_spec == "downsample:4"
    assert encoders["privileged"].folder == moved_runs["asymmetric"].path
    rows = tissue.indices("test")
    for frozen in encoders.values():
        images = frozen.modality.render(
            torch.from_numpy(np.array(tissue.array("he")[rows])), frozen.size
        )
        frozen.encoder.eval()
        with torch.no_grad():
            expected = torch.cat([frozen.encoder(image[None]) for image in images])
        features = frozen.features(tissue, "test")
        torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)
        assert BATCH_SIZE > len(rows) > 0


def test_cached_predictions_belong_to_their_weights(
    moved_runs: dict[str, Run], tissue: Store
) -> None:
    first, other_run = moved_runs["asymmetric"], moved_runs["symmetric"]
    expected = evaluate(first, tissue, PROBE)[0].probabilities
    other_probabilities = evaluate(other_run, tissue, PROBE)[0].probabilities
    assert not np.array_equal(expected, other_probabilities)
    name = "predictions-primary-5-0.001.safetensors"
    (name,) = {path.name for path in first.path.glob("predictions-primary-linear-5-*")}
    shutil.copy(other_run.path / name, first.path / name)  # another run's predictions
    np.testing.assert_array_equal(evaluate(first, tissue, PROBE)[0].probabilities, expected)
    for path in first.path.glob("features/*"):
        path.write_bytes(path.read_bytes()[:100])
    (first.path / name).unlink()
    recomputed = evaluate(first, tissue, PROBE)[0].probabilities
    np.testing.assert_array_equal(recomputed, expected)


def test_trained_encoder_does_not_use_its_old_cached_features(
    moved_runs: dict[str, Run], tissue: Store
) -> None:
    frozen = load_encoder(moved_runs["asymmetric"].path)
    before = frozen.features(tissue, "test")
    optimiser = torch.optim.SGD(frozen.encoder.parameters(), 0.1)
    frozen.encoder(frozen.render(tissue, tissue.indices("train"))).sum().backward()
    optimiser.step()
    after = frozen.features(tissue, "test")
    assert not torch.allclose(before, after)
    assert torch.equal(after, frozen.represent(tissue, tissue.indices("test")))
    torch.testing.assert_close(
        load_encoder(moved_runs["asymmetric"].path).features(tissue, "test"), before
    )


def test_cached_features_belong_to_the_requested_patches(tissue: Store, tmp_path: Path) -> None:
    frozen = random_encoder("test_resnet", "downsample:4", 32, 0, tmp_path)
    rows = tissue.indices("test")
    for excluded in (0, 1):
        split = tissue.table["split"].mask(tissue.table.index == rows[excluded], None)
        store = Store(tissue.path, tissue.meta, tissue.table.assign(split=split), tissue.arrays)
        expected = frozen.represent(tissue, np.delete(rows, excluded))
        torch.testing.assert_close(frozen.features(store, "test"), expected)


def test_moved_run_keeps_its_metadata(moved_runs: dict[str, Run], tissue: Store) -> None:
    run = moved_runs["asymmetric"]
    frozen = load_encoder(run.path, "privileged")
    metadata = frozen.metadata
    assert metadata is not None
    assert metadata.data is not None
    assert (metadata.data.hash, metadata.data.classes) == (tissue.hash, tissue.classes)
    assert (frozen.um_per_px, frozen.side) == (tissue.um_per_px, 32)
    preprocessing = metadata.branches["primary"].preprocessing
    assert (preprocessing.modality, preprocessing.interpolation) == ("downsample:4", "area")
    torch.testing.assert_close(
        torch.tensor(preprocessing.mean), frozen.encoder.get_buffer("mean").flatten()
    )
    assert msgspec.json.decode(run.encoder_path.read_bytes(), type=EncoderMetadata) == metadata
    assert str(tissue.path) not in run.encoder_path.read_text()
    for role, expected in load_encoders(run).items():  # from the weights only, in any folder
        from_weights = load_encoder(
            shutil.copy(run.weights_path, run.path.parent / "alone.safetensors"), role
        )
        assert from_weights.fingerprint == expected.fingerprint
        assert (from_weights.title, from_weights.modality_spec) == (
            expected.title,
            expected.modality_spec,
        )


def test_run_finds_its_store_or_names_the_option(
    pretraining: RunConfig, tissue: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    shutil.copytree(tissue.path, old / "stores" / "a")
    run = pretrain(changed(pretraining, store=old / "stores" / "a", out=old / "runs" / "a"))
    assert not run.record.options["store"].startswith("/")
    new = shutil.move(old, tmp_path / "new")
    moved = Run.open(new / "runs" / "a")
    assert open_store(moved, None).hash == tissue.hash
    shutil.rmtree(new / "stores")
    assert cli.run(["probe", str(moved.path)]) == 2
    assert "give --store FOLDER" in capsys.readouterr().err
    assert open_store(moved, tissue.path).hash == tissue.hash
    assert load_encoder(moved.path).encoder.width


def test_invalid_encoders_are_refused(
    moved_runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "weights.pt"
    torch.save({"a": torch.ones(1)}, program)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.ones(1)}, foreign)
    study = tmp_path / "study"
    (study / "runs").mkdir(parents=True)
    for argument, reason in {
        program: "may contain code",
        foreign: "does not name its encoder",
        tmp_path: "contains neither a run",
        study: "give a run in .*study/runs",
        tmp_path / "none": "There is no run or exported encoder",
        "test_resnet": "has random weights",
        "resnet5O": "did you mean resnet50",
    }.items():
        with pytest.raises(ConfigError, match=reason):
            load_encoder(argument)
    with pytest.raises(ConfigError, match="no branch 'twin', only primary"):
        load_encoder(moved_runs["asymmetric"].path, "twin")
    run = moved_runs["supervised"]
    encoder = json.loads(run.encoder_path.read_text())
    encoder["branches"]["primary"]["encoder"] = "antigravity.x:Y"
    run.finish(run.weights(), {}, encoder)
    monkeypatch.setattr(importlib, "import_module", None)  # nothing is imported
    for path in (run.path, run.weights_path):
        with pytest.raises(ConfigError, match="give --trust"):
            load_encoder(path)


def test_named_encoder_needs_weights_and_gets_full_patches(tmp_path: Path) -> None:
    plain = random_encoder("test_resnet", "full", 32, 0, tmp_path)
    file = tmp_path / "weights.safetensors"
    network = {
        k.removeprefix("network."): v
        for k, v in plain.encoder.state_dict().items()
        if k.startswith("network.")
    }
    save_file(network, file)
    frozen = load_encoder(f"test_resnet:weights={file},mean=0.5,std=0.5")
    assert (frozen.modality_spec, frozen.size, frozen.folder) == ("full", 160, None)
    assert frozen.title.startswith(f"test_resnet:weights={file}")
    patches = torch.randint(0, 256, (2, 160, 160, 3), dtype=torch.uint8)
    with torch.no_grad():
        expected = plain.encoder.network((patches.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5)
        torch.testing.assert_close(frozen.encoder(frozen.inputs(patches)), expected)
        torch.testing.assert_close(frozen.encoder(frozen.inputs(patches.numpy())), expected)
    read_only = patches.numpy()
    read_only.setflags(write=False)  # like the arrays of a store
    with warnings.catch_warnings(action="error"):
        assert torch.equal(frozen.inputs(read_only), frozen.inputs(patches))
    wide = patches.to(torch.uint16)  # as 16-bit images, almost all pixels would be white
    for invalid in (patches / 255, patches[0], wide, patches.repeat(1, 1, 1, 2)[..., :4]):
        with pytest.raises(DataError, match=r"give patches as stored, \(N, side, side, 3\)"):
            frozen.inputs(invalid)


def test_foreign_or_damaged_weights_are_refused(moved_runs: dict[str, Run]) -> None:
    first, other_run = moved_runs["asymmetric"], moved_runs["symmetric"]
    content = first.weights_path.read_bytes()
    shutil.copy(other_run.weights_path, first.weights_path)
    with pytest.raises(TrainingError):
        load_encoders(first)
    damaged = bytearray(content)
    damaged[-5] ^= 1
    first.weights_path.write_bytes(damaged)
    with pytest.raises(TrainingError):
        load_encoders(first)


def test_other_data_or_unknown_branch_is_refused(
    moved_runs: dict[str, Run], tissue: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="'twin', only primary"):
        evaluate_branch(moved_runs["asymmetric"], "twin", tissue, PROBE, "tissue")
    monkeypatch.setattr(Store, "hash", "another")
    with pytest.raises(DataError):
        evaluate(moved_runs["asymmetric"], tissue, PROBE)


def test_supervised_arm_predicts_with_its_head(moved_runs: dict[str, Run], tissue: Store) -> None:
    run = moved_runs["supervised"]
    (evaluation,) = evaluate(run, tissue, PROBE)
    weights = load_file(run.weights_path)
    torch.testing.assert_close(evaluation.probe.weight, weights["head.weight"])
    expected = torch.softmax(
        evaluation.classifier(evaluation.frozen.render(tissue, tissue.indices("test"))), dim=1
    )
    np.testing.assert_allclose(evaluation.probabilities, expected.detach(), rtol=1e-3, atol=1e-4)
    assert not evaluation.frozen.uses_own_head("cell")


def test_head_is_used_only_for_its_task_and_classes(tissue: Store, tmp_path: Path) -> None:
    frozen = replace(
        random_encoder("test_resnet", "full", 32, 0, tmp_path),
        config=run_config(tissue.path, tmp_path, kind="supervised"),
        head=LinearProbe(torch.zeros(9, 96), torch.zeros(9)),
        metadata=EncoderMetadata(branches={}, head=tissue.classes, options={}),
    )
    cell = run_config(tissue.path, tmp_path, kind="supervised", task="cell:by=area")
    assert replace(frozen, config=cell).uses_own_head("cell:area,ties=first")
    assert frozen.head_for("tissue", tissue) is frozen.head
    assert frozen.head_for("cell", tissue) is None
    backwards = tissue.relabelled(tissue.classes[::-1], len(tissue.classes) - 1 - tissue.labels)
    with pytest.raises(DataError, match="was trained on the classes"):
        calibrate(frozen, backwards, PROBE, "tissue")  # as mfl predict --store does
    with pytest.raises(DataError, match="was trained on the classes"):
        evaluate_encoder(frozen, backwards, PROBE, "tissue", 0)


def test_random_encoder_ignores_named_weights(tmp_path: Path) -> None:
    plain = random_encoder("test_resnet", "full", 32, 0, tmp_path)
    file = tmp_path / "weights.safetensors"
    save_file({k: v + 1 for k, v in plain.encoder.state_dict().items()}, file)
    for spec in (f"test_resnet:weights={file}", "test_resnet:pretrained=true"):
        assert random_encoder(spec, "full", 32, 0, tmp_path).fingerprint == plain.fingerprint
    assert random_encoder("test_resnet", "full", 32, 1, tmp_path).fingerprint != plain.fingerprint


def test_represent_leaves_the_encoder_in_training_mode() -> None:
    encoder, images = build_encoder("test_resnet").train(), torch.rand(5, 3, 32, 32)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    features = represent(encoder, [images[:3], images[3:]], "cpu")
    assert encoder.training
    assert all(before[name].equal(value) for name, value in encoder.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(features, encoder.eval()(images))
