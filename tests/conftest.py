"""What tests share: a small store of synthetic tissue, and options that train in seconds."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from morefromless.config import RunConfig, StudyConfig, from_flat
from morefromless.data.store import Store
from morefromless.ingest import ingest
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


def run_config(store: Path, out: Path, **options: Any) -> RunConfig:
    """A run of two epochs; `options` by name, as on the command line."""
    given = {**TINY, "width": 64, "store": str(store), "out": str(out), **options}
    return from_flat(RunConfig, given)


def study_config(store: Path, out: Path, **options: Any) -> StudyConfig:
    """Every arm with two seeds; `options` by name, as on the command line."""
    common = {"primary": ["downsample:4"], "seeds": 2, "jobs": 1, "width": 64}
    given = {**TINY, **common, "store": str(store), "out": str(out), **options}
    return from_flat(StudyConfig, given)


@pytest.fixture(scope="session")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """180 patches of nine tissues from twelve patients, 32 px."""
    path = tmp_path_factory.mktemp("stores") / "tissue"
    ingest(Synthetic(patches=180, patients=12, size=32), path, progress=False, workers=1)
    return Store.open(path)


@pytest.fixture
def pretraining(tissue: Store, tmp_path: Path) -> RunConfig:
    return run_config(tissue.path, tmp_path / "run")


@pytest.fixture
def supervision(tissue: Store, tmp_path: Path) -> RunConfig:
    return run_config(tissue.path, tmp_path / "run", kind="supervised")


@pytest.fixture
def study(tissue: Store, tmp_path: Path) -> StudyConfig:
    return study_config(tissue.path, tmp_path / "study")
