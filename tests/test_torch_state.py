"""What a call leaves of the caller's process, and what it takes of it: nothing."""

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
    """Of this process: what a library may change without meaning to."""
    return [
        torch.get_rng_state().tolist(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
        list(warnings.filters),
        [logging.getLogger(n).level for n in ("pytorch_lightning", "lightning.pytorch")],
        dict(os.environ),
    ]


def test_training_and_asking_leave_the_process_as_it_was(
    pretraining: RunConfig, tissue: Store
) -> None:
    import pytorch_lightning  # noqa: F401, whose own import adds filters

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
    "other", [torch.inference_mode, lambda: torch.device("meta"), lambda: doubles()]
)
def test_a_run_has_the_same_weights_and_answers_whatever_the_callers_defaults(
    pretraining: RunConfig, tissue: Store, tmp_path: Path, other: Callable[[], Any]
) -> None:
    expected = train(changed(pretraining, epochs=1))
    answers = [answer.probabilities for answer in evaluate(expected, tissue, PROBE)]
    with other():
        run = train(changed(pretraining, epochs=1, out=str(tmp_path / "other")))
        others = [answer.probabilities for answer in evaluate(run, tissue, PROBE)]
        assert load_encoder(run.path).encoder.get_buffer("mean").dtype == torch.float32
    assert run.fingerprint == expected.fingerprint
    assert all((one == two).all() for one, two in zip(answers, others, strict=True))


class doubles:
    """PyTorch's default type is float64 within."""

    def __enter__(self) -> None:
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *_: object) -> None:
        torch.set_default_dtype(torch.float32)


def test_features_are_float32_whatever_the_default(trained: dict[str, Run], tissue: Store) -> None:
    frozen = load_encoder(trained["asymmetric"].path)
    with doubles():
        rendered = frozen.render(tissue, tissue.indices("test"))
        assert rendered.dtype == torch.float32
        assert frozen.represent(tissue, tissue.indices("test")).dtype == torch.float32


def test_runs_in_two_threads_are_those_of_one(pretraining: RunConfig, tmp_path: Path) -> None:
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


def test_a_step_seeds_what_torch_seeds() -> None:
    torch.manual_seed(2**40 + 3)
    expected = torch.rand(4)
    seed_generators(2**40 + 3, torch.device("cpu"))
    assert torch.equal(torch.rand(4), expected)


def test_a_thread_that_waits_restores_the_callers_default() -> None:
    """The default type is all threads': one that waits has another's before it."""
    waiting = threading.Event()

    def work() -> None:
        with preserved_torch_state():
            pass

    def default_device() -> torch.device:
        waiting.set()
        return torch.device("cpu")

    with doubles():
        thread = threading.Thread(target=work)
        with preserved_torch_state(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "get_default_device", default_device)
            thread.start()
            waiting.wait()
        thread.join()
        assert torch.get_default_dtype() == torch.float64


def test_the_state_is_restored_after_an_error() -> None:
    with doubles():
        before = torch.get_rng_state()
        with pytest.raises(KeyError):
            failing()
        assert torch.get_default_dtype() == torch.float64
        assert torch.equal(torch.get_rng_state(), before)


@preserved_torch_state()
def failing() -> None:
    assert torch.get_default_dtype() == torch.float32
    torch.manual_seed(0)
    raise KeyError
