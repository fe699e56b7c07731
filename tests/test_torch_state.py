"""Calls neither change the state of the caller's process nor depend on it."""

import logging
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from morefromless.config import Probe, RunConfig
from morefromless.data.store import Store
from morefromless.evaluation.calibration import calibrate
from morefromless.evaluation.evaluate import evaluate
from morefromless.evaluation.frozen import random_encoder
from morefromless.evaluation.loading import load_encoder
from morefromless.runs import Run
from morefromless.torch_state import preserved_torch_state, seed_generators
from morefromless.training.train import train
from tests.conftest import changed

PROBE = Probe(probe_epochs=2)


def state() -> list[Any]:
    """State of this process that a library may change by accident."""
    return [
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        list(warnings.filters),
        [logging.getLogger(n).level for n in ("pytorch_lightning", "lightning.pytorch")],
        dict(os.environ),
    ]


def test_training_and_evaluation_preserve_process_state(
    pretraining: RunConfig, tissue: Store
) -> None:
    import pytorch_lightning  # noqa: F401, its import adds filters

    config = changed(pretraining, epochs=1, threads=2)
    before = state()
    run = train(config)
    assert run.record.facts["threads"] == 2
    frozen = load_encoder(run.path)
    evaluate(run, tissue, PROBE)
    calibrate(frozen, tissue, PROBE, "tissue")
    random_encoder("test_resnet", "downsample:4", 32, 0, run.path / "random")
    assert state() == before


@pytest.mark.parametrize(
    "context", [torch.inference_mode, lambda: torch.device("meta"), lambda: float64_default()]
)
def test_results_do_not_depend_on_the_callers_defaults(
    pretraining: RunConfig, tissue: Store, tmp_path: Path, context: Callable[[], Any]
) -> None:
    expected = train(changed(pretraining, epochs=1))
    expected_probabilities = [answer.probabilities for answer in evaluate(expected, tissue, PROBE)]
    with context():
        run = train(changed(pretraining, epochs=1, out=str(tmp_path / "other")))
        probabilities = [answer.probabilities for answer in evaluate(run, tissue, PROBE)]
        assert load_encoder(run.path).encoder.get_buffer("mean").dtype == torch.float32
    assert run.fingerprint == expected.fingerprint
    assert all((a == b).all() for a, b in zip(expected_probabilities, probabilities, strict=True))


class float64_default:
    """A context in which PyTorch's default type is float64."""

    def __enter__(self) -> None:
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *_: object) -> None:
        torch.set_default_dtype(torch.float32)


def test_features_are_float32_for_any_default(trained: dict[str, Run], tissue: Store) -> None:
    frozen = load_encoder(trained["asymmetric"].path)
    with float64_default():
        rendered = frozen.render(tissue, tissue.indices("test"))
        assert rendered.dtype == torch.float32
        assert frozen.represent(tissue, tissue.indices("test")).dtype == torch.float32


def test_runs_in_two_threads_equal_a_single_run(pretraining: RunConfig, tmp_path: Path) -> None:
    runs: dict[str, Run] = {}

    def work(name: str) -> None:
        runs[name] = train(changed(pretraining, epochs=1, out=str(tmp_path / name)))

    work("alone")
    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run.fingerprint for run in runs.values()} == {runs["alone"].fingerprint}


def test_seed_generators_equals_manual_seed() -> None:
    torch.manual_seed(2**40 + 3)
    expected = torch.rand(4)
    seed_generators(2**40 + 3, torch.device("cpu"))
    assert torch.equal(torch.rand(4), expected)


def test_waiting_thread_restores_the_callers_default() -> None:
    """All threads share the default type: a waiting thread sees that of another thread."""
    waiting = threading.Event()

    def work() -> None:
        with preserved_torch_state():
            pass

    def default_device() -> torch.device:
        waiting.set()
        return torch.device("cpu")

    with float64_default():
        thread = threading.Thread(target=work)
        with preserved_torch_state(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "get_default_device", default_device)
            thread.start()
            waiting.wait()
        thread.join()
        assert torch.get_default_dtype() == torch.float64


def test_state_is_restored_after_an_error() -> None:
    with float64_default():
        before = torch.get_rng_state()
        with pytest.raises(KeyError):
            raise_key_error()
        assert torch.get_default_dtype() == torch.float64
        assert torch.equal(torch.get_rng_state(), before)


@preserved_torch_state()
def raise_key_error() -> None:
    assert torch.get_default_dtype() == torch.float32
    torch.manual_seed(0)
    raise KeyError
