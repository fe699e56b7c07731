"""TIAToolbox's own network and post-processing, with random weights, offline."""

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from morefromless.cli import run
from morefromless.data.nuclei import Nuclei
from morefromless.errors import ConfigError
from morefromless.hovernet import network
from morefromless.hovernet.network import Hovernet
from morefromless.sources.synthetic import Synthetic
from tests.ingest.samples import two_classes

pytest.importorskip("tiatoolbox", reason="needs the extra nuclei; make test-nuclei runs it")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights, in the format of trained weights for offline use."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "hovernet.safetensors"
    save_file(network.network().state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_network_predicts_the_middle_of_its_window(weights: Path) -> None:
    engine = Hovernet(weights, "cpu")
    windows = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    maps = engine.infer(windows)
    assert [kind.shape for kind in maps] == [(2, 164, 164, c) for c in (1, 2, 1)]
    assert 0 <= maps[0].min() <= maps[0].max() <= 1
    assert set(np.unique(maps[2])) <= set(range(6))
    assert engine.facts["weights"] == "hovernet.safetensors"
    assert len(engine.facts["weights_sha256"]) == 64


def ideal_maps(instances: np.ndarray, types: np.ndarray) -> tuple[np.ndarray, ...]:
    """Ideal maps of a network: probability, distances to each nucleus' centre, type."""
    distances = np.zeros((*instances.shape, 2), np.float32)
    for number in range(1, len(types) + 1):
        ys, xs = np.nonzero(instances == number)
        if len(ys):
            for axis, coordinates in enumerate((xs, ys)):
                middle = coordinates - coordinates.mean()
                distances[ys, xs, axis] = middle / max(1e-6, np.abs(middle).max())
    kinds = np.append(0, types)[instances]
    inside = (instances > 0).astype(np.float32)
    return inside[..., None], distances, kinds[..., None].astype(np.float32)


def test_post_processing_restores_the_nuclei(weights: Path) -> None:
    source = Synthetic(patches=9, patients=3, size=448)  # 112 µm at the network's 0.25 µm/px
    item = next(item for item in source.items() if item.label == "LYM")
    tissue = source.tissue(item)
    instances, types = tissue.instances.astype(np.int32), tissue.types
    result, kinds = Hovernet(weights, "cpu").nuclei(ideal_maps(instances, types))
    areas = np.bincount(instances.ravel())
    large = [k for k in range(1, len(types) + 1) if areas[k] > 50]
    matched = correct_types = 0
    for k in large:
        overlapping = np.bincount(result[instances == k])
        if len(overlapping) < 2 or not overlapping[1:].any():
            continue
        best = int(overlapping[1:].argmax()) + 1
        union = ((result == best) | (instances == k)).sum()
        if overlapping[best] / union > 0.5:
            matched += 1
            correct_types += kinds[best] == types[k - 1]
    assert len(large) > 20
    assert matched > 0.8 * len(large)
    assert correct_types > 0.95 * matched


def test_segmentation_from_end_to_end(weights: Path, tmp_path: Path) -> None:
    patches = two_classes(tmp_path / "images", 2)
    arguments = ["segment", str(patches), str(tmp_path / "out"), "--weights", str(weights)]
    assert run([*arguments, "--um-per-px", "0.5", "--device", "cpu"]) == 0
    assert len(list((tmp_path / "out").rglob("*.geojson"))) == 2
    store = [str(tmp_path / "store"), "--nuclei", str(tmp_path / "out"), "--split", "random"]
    assert run(["ingest", str(patches), *store]) == 2  # two patches are too few for a split


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match="contains no weights of hovernet_fast-pannuke"):
        Hovernet(path, "cpu")
    with pytest.raises(ConfigError, match="There is no weights file"):
        Hovernet(tmp_path / "none.pth", "cpu")
    torch.save({"trap": Nuclei}, tmp_path / "trap.pth")
    with pytest.raises(ConfigError, match="tensors only"):
        Hovernet(tmp_path / "trap.pth", "cpu")


def test_error_for_missing_weights_names_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="give it with --weights"):
        Hovernet(None, "cpu")
