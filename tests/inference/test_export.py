"""Exported encoders: the same features in timm, onnxruntime and torch.export."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from morefromless import cli
from morefromless.data.store import Store
from morefromless.encoders import build_encoder
from morefromless.errors import ConfigError, DataError, TrainingError
from morefromless.evaluation.loading import load_encoder
from morefromless.inference import export as module
from morefromless.inference.export import EXPORTED_FILES, export
from morefromless.runs import Run
from morefromless.training.pretrain import pretrain
from tests.conftest import run_config

STANDALONE_SCRIPT = """
import sys
sys.modules["morefromless"] = None  # importing it fails
import numpy as np, onnxruntime, timm, torch
torch.set_num_threads(1)
folder, inputs, patches, outputs = sys.argv[1:]
images = np.load(inputs)
model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
config = timm.data.resolve_data_config(model=model)
mean, std = (torch.tensor(config[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
with torch.no_grad():
    by_timm = model((torch.from_numpy(images) - mean) / std).numpy()
session = onnxruntime.InferenceSession(f"{folder}/encoder.onnx")
(by_onnx,) = session.run(None, {"images": np.load(patches)})
program = torch.export.load(f"{folder}/encoder.pt2").module()
by_torch = program(torch.from_numpy(np.load(patches))).detach().numpy()
np.savez(outputs, timm=by_timm, onnx=by_onnx, torch=by_torch, size=config["input_size"])
"""


def test_exported_encoder_works_without_this_package(
    run: Run, tissue: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "encoder"
    graphs = ["--onnx", "--torch-export", "--preprocessing"]
    assert cli.run(["export", str(run.path), str(out), *graphs]) == 0
    assert "encoder.onnx" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} <= set(EXPORTED_FILES)
    frozen = load_encoder(run.path)
    rows = tissue.indices("test")[:5]
    patches = np.asarray(tissue.array("he")[rows])
    images = frozen.render(tissue, rows).contiguous()
    np.save(tmp_path / "patches.npy", patches)
    np.save(tmp_path / "images.npy", images.numpy())
    arguments = [out, tmp_path / "images.npy", tmp_path / "patches.npy", tmp_path / "out.npz"]
    subprocess.run(
        [sys.executable, "-c", STANDALONE_SCRIPT, *map(str, arguments)], check=True, env={}
    )
    with torch.no_grad():
        expected = frozen.encoder(images).numpy()
    outputs = np.load(tmp_path / "out.npz")
    assert outputs["size"].tolist() == [3, 32, 32]
    for name, tolerance in {"timm": 1e-5, "onnx": 1e-4, "torch": 1e-5}.items():
        scale = np.abs(expected).max()
        np.testing.assert_allclose(outputs[name], expected, rtol=0, atol=tolerance * scale)
    moved = load_encoder(shutil.move(out, tmp_path / "moved"))
    np.testing.assert_allclose(moved.represent(tissue, rows), expected, rtol=1e-5, atol=1e-5)
    assert (moved.fingerprint, moved.um_per_px) == (frozen.fingerprint, frozen.um_per_px)
    assert moved.title == frozen.title
    assert str(tissue.path) not in (tmp_path / "moved" / "encoder.json").read_text()


def test_privileged_branch_and_non_timm_encoder_are_exported(run: Run, tmp_path: Path) -> None:
    privileged = load_encoder(run.path, "privileged")
    export(privileged, tmp_path / "privileged")
    exported = load_encoder(tmp_path / "privileged", "privileged")
    assert exported.fingerprint == privileged.fingerprint
    with pytest.raises(ConfigError, match="no branch 'primary', only privileged"):
        load_encoder(tmp_path / "privileged")
    frozen = load_encoder(run.path)
    assert frozen.metadata is not None
    branch = frozen.metadata.branches["primary"]
    preprocessing = replace(
        branch.preprocessing, modality="vector:5", channels=5, mean=None, std=None
    )
    metadata = replace(
        frozen.metadata,
        branches={"primary": replace(branch, encoder="mlp:hidden=8", preprocessing=preprocessing)},
    )
    mlp = build_encoder("mlp:hidden=8", channels=5)
    frozen = replace(frozen, encoder=mlp, modality_spec="vector:5", metadata=metadata)
    export(frozen, tmp_path / "mlp", torch_export=True)
    assert not (tmp_path / "mlp" / "config.json").exists()
    assert load_encoder(tmp_path / "mlp").fingerprint == frozen.fingerprint


def test_invalid_exports_are_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frozen = load_encoder(run.path)
    out = tmp_path / "out"
    for opset in ("11", "999"):
        assert cli.run(["export", str(run.path), str(out), "--onnx", "--opset", opset]) == 2
        assert f"PyTorch does not write --opset {opset}" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="cannot be exported"):
        export(replace(frozen, metadata=None), out)
    vector = replace(frozen, modality_spec="vector:7")
    with pytest.raises(ConfigError, match="does not resize patches"):
        export(vector, out, onnx=True, preprocessing=True)
    assert not out.exists()
    out.mkdir()
    (out / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=r"contains other files \(thesis.tex\)"):
        export(frozen, out)
    monkeypatch.setattr(module, "TOLERANCE", -1)
    with pytest.raises(DataError, match="differ from PyTorch's"):
        export(frozen, tmp_path / "other", torch_export=True)
    assert not (tmp_path / "other" / "encoder.pt2").exists()


def test_untrusted_weights_are_refused(run: Run, tmp_path: Path) -> None:
    frozen = load_encoder(run.path)
    assert frozen.metadata is not None
    branch = replace(frozen.metadata.branches["primary"], encoder="antigravity.x:Y")
    foreign = replace(frozen.metadata, branches={"primary": branch})
    export(replace(frozen, metadata=foreign), tmp_path / "foreign")
    with pytest.raises(ConfigError, match="give --trust"):
        load_encoder(tmp_path / "foreign")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    torch.save({"a": 1}, pickled / "model.safetensors")
    with pytest.raises(ConfigError, match="damaged or not a safetensors file"):
        load_encoder(pickled)
    assert json.loads((tmp_path / "foreign" / "encoder.json").read_text())["format"] == 1


def test_export_removes_files_of_another_encoder(run: Run, tmp_path: Path) -> None:
    frozen, folder = load_encoder(run.path), tmp_path / "out"
    export(frozen, folder, torch_export=True)
    (folder / "probe-primary-tissue-calibrated.safetensors").touch()
    (folder / ".encoder.pt2.00ff-1.partial").touch()  # of a killed process
    for _ in range(12):  # safetensors writes metadata in any order
        export(frozen, folder)
        assert (folder / "encoder.pt2").exists()  # it has the same weights
    export(load_encoder(run.path, "privileged"), folder)
    assert {path.name for path in folder.iterdir()} == {
        "model.safetensors",
        "encoder.json",
        "config.json",
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").touch()
    with pytest.raises(ConfigError, match=r"contains other files \(README.md\)"):
        export(frozen, tmp_path / "mine")


def test_exported_encoder_is_checked_on_loading(run: Run, tmp_path: Path) -> None:
    frozen = load_encoder(run.path)
    assert frozen.metadata is not None
    options = {**frozen.metadata.options, "features": str(tmp_path / "theirs")}
    export(replace(frozen, metadata=replace(frozen.metadata, options=options)), tmp_path / "a")
    config = load_encoder(tmp_path / "a").config
    assert config is not None
    assert config.machine.features is None  # a path on the machine that trained the run
    path = tmp_path / "a" / "model.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({**load_file(path), "head.weight": torch.ones(2, 3)}, path, metadata)
    with pytest.raises(TrainingError, match=r"does not match its metadata \(0 classes\)"):
        load_encoder(tmp_path / "a")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ConfigError, match="damaged or not a safetensors file"):
        load_encoder(tmp_path / "a")


def test_timm_loads_position_embeddings_unchanged(tissue: Store, tmp_path: Path) -> None:
    """At 32 px, with a network whose timm default is 160 px."""
    run = pretrain(run_config(tissue.path, tmp_path / "run", encoder="test_vit", primary="full"))
    frozen = load_encoder(run.path)
    export(frozen, tmp_path / "encoder")
    network = timm.create_model(f"local-dir:{tmp_path / 'encoder'}", pretrained=True).eval()
    images = torch.rand(2, 3, 32, 32)
    mean, std = (
        torch.tensor(network.pretrained_cfg[key])[:, None, None] for key in ("mean", "std")
    )
    with torch.no_grad():
        expected = frozen.encoder(images)
        torch.testing.assert_close(network((images - mean) / std), expected, rtol=0, atol=1e-6)
