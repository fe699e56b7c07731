"""Shared fixtures: a small store of synthetic tissue, and options that train in seconds."""

import gc
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import settings

from morefromless.config import RunConfig, StudyConfig, from_flat, to_flat
from morefromless.data.store import Store
from morefromless.evaluation.results import Results
from morefromless.ingest import ingest
from morefromless.runner import run_all
from morefromless.runs import Run
from morefromless.sources.synthetic import Synthetic
from morefromless.study import Study

torch.set_num_threads(1)  # other test processes use the other cores
gc.set_threshold(700, 10, 1000)  # full collections would scan a million objects of libraries
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells disable it for background jobs

settings.register_profile("untimed", deadline=None)  # the machine may be busy
settings.load_profile("untimed")

os.environ["TERM"] = "xterm"  # for any terminal that the tests are started from

SERVER = multiprocessing.get_context("forkserver")
"""Context for processes that need not repeat the imports. They are forked from a server that has
never used PyTorch. Tests that use it are in the xdist group `server`, so only one test process
starts the server."""
SERVER.set_forkserver_preload([__name__, "morefromless.training.train"])


@pytest.hookimpl(tryfirst=True)  # before xdist names the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort tests by time limit, longest first, then xdist groups, which share slow fixtures. Test
    processes then end at about the same time. Tests that use the trained study form one group."""

    def sort_key(item: pytest.Item) -> tuple[float, bool]:
        limit = item.get_closest_marker("timeout")
        grouped = item.get_closest_marker("xdist_group") is not None
        return float(limit.args[0]) if limit else 0.0, grouped

    for item in items:
        if "study" in getattr(item, "fixturenames", ()) and not item.get_closest_marker(
            "xdist_group"
        ):
            item.add_marker(pytest.mark.xdist_group("study"))
    items.sort(key=sort_key, reverse=True)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Shorten long strings in the names of parametrised tests."""
    return f"{val[:40]!r}..." if isinstance(val, str | bytes) and len(val) > 80 else None


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Check that each test leaves PyTorch with one thread. With more threads, later tests would get
    other numbers, and forked processes would wait for threads that they do not have."""
    yield
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert threads == 1


TINY: dict[str, Any] = {
    "size": 32,
    "encoder": "test_resnet",
    "epochs": 2,
    "batch": 32,
    "lr": 1e-3,
    "device": "cpu",
}

Config = TypeVar("Config")


def changed(config: Config, **options: Any) -> Config:
    """Return the config with other options, at any level of nesting."""
    return from_flat(type(config), {**to_flat(config), **options})


def run_config(store: Path, out: Path, **options: Any) -> RunConfig:
    """A run of two epochs."""
    return from_flat(RunConfig, {"store": store, "out": out, "width": 64, **TINY, **options})


def study_config(store: Path, out: Path, **options: Any) -> StudyConfig:
    """A study of `downsample:4` with two seeds."""
    fixed = {"primary": ["downsample:4"], "seeds": 2, "jobs": 1, "width": 64}
    return from_flat(StudyConfig, {"store": store, "out": out, **fixed, **TINY, **options})


@pytest.fixture(scope="session")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """180 patches of nine tissues from twelve patients, 32 px."""
    path = tmp_path_factory.mktemp("stores") / "tissue"
    ingest(Synthetic(patches=180, patients=12, size=32), path, progress=False, workers=1)
    return Store.open(path)


@pytest.fixture
def pretraining(tissue: Store, tmp_path: Path) -> RunConfig:
    """An asymmetric run."""
    return run_config(tissue.path, tmp_path / "run")


@pytest.fixture
def supervision(tissue: Store, tmp_path: Path) -> RunConfig:
    return run_config(tissue.path, tmp_path / "run", kind="supervised")


@pytest.fixture
def comparison(tissue: Store, tmp_path: Path) -> StudyConfig:
    """Every arm with two seeds."""
    return study_config(tissue.path, tmp_path / "compare")


@pytest.fixture(scope="session")
def study(tissue: Store, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A trained study: every arm with shared weights, two seeds, with learning curves. Tests do not
    change it; those that change a run's folder use a copy."""
    out = tmp_path_factory.mktemp("study")
    config = study_config(
        tissue.path, out, sharing=["shared"], epochs=8, probe_every=4, probe_epochs=20
    )
    trained = Study.of(config, tissue)
    run_all(trained.runs, 1)
    return trained


@pytest.fixture(scope="session")
def results(study: Study) -> Results:
    return study.evaluate(progress=False)


@pytest.fixture(scope="session")
def trained(study: Study) -> dict[str, Run]:
    """Map of each kind of arm to its run of seed 0."""
    return {run.arm.kind: Run(run.out) for run in study.runs if run.seed == 0}
