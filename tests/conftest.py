"""What tests share: a small store of synthetic tissue, and options that train in seconds."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from morefromless.data.store import Store
from morefromless.ingest import ingest
from morefromless.options import CompareOptions, PretrainOptions, SuperviseOptions
from morefromless.sources.synthetic import Synthetic

torch.set_num_threads(1)  # two test processes on two cores
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background

TINY: dict[str, Any] = {
    "size": 32,
    "encoder": "test_resnet",
    "epochs": 2,
    "batch": 32,
    "lr": 1e-3,
    "device": "cpu",
}


@pytest.fixture(scope="session")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """180 patches of nine tissues from twelve patients, 32 px."""
    path = tmp_path_factory.mktemp("stores") / "tissue"
    ingest(Synthetic(patches=180, patients=12, size=32), path, progress=False, workers=1)
    return Store.open(path)


@pytest.fixture
def pretraining(tissue: Store, tmp_path: Path) -> PretrainOptions:
    """A run of two epochs."""
    return PretrainOptions(store=tissue.path, out=tmp_path / "run", width=64, **TINY)


@pytest.fixture
def supervision(tissue: Store, tmp_path: Path) -> SuperviseOptions:
    return SuperviseOptions(store=tissue.path, out=tmp_path / "run", **TINY)


@pytest.fixture
def comparison(tissue: Store, tmp_path: Path) -> CompareOptions:
    """Every arm with two seeds."""
    return CompareOptions(
        store=tissue.path,
        out=tmp_path / "compare",
        primary=("downsample:4",),
        seeds=2,
        jobs=1,
        width=64,
        **TINY,
    )
