"""The predicted cost of a step against the measured cost of a real step."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from morefromless.cli import run
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.pairs import Pair
from morefromless.training.cost import resident_bytes, step_cost, step_cost_key, step_seconds
from morefromless.training.feed import Feed
from tests.conftest import SERVER, changed, run_config, study_config


def status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def measured_peak(config: RunConfig) -> int:
    """Memory of the steps of a run in bytes, in a new process with all libraries loaded."""
    torch.set_num_threads(1)
    step_seconds(run_config(Path(), Path(), batch=4, width=8), "cpu")
    Path("/proc/self/clear_refs").write_text("5")
    before = status_bytes("VmRSS")
    step_seconds(config, "cpu")
    return status_bytes("VmHWM") - before


@pytest.mark.xdist_group("server")
def test_predicted_memory_is_near_a_measured_peak() -> None:
    config = run_config(Path(), Path(), encoder="resnet18", size=64, batch=48, width=512)
    with ProcessPoolExecutor(1, SERVER) as processes:
        measured = processes.submit(measured_peak, config).result()
    assert step_cost(config).memory == pytest.approx(measured, rel=0.3)


def test_state_is_trained_weights_and_their_two_moments() -> None:
    config = run_config(Path(), Path(), encoder="resnet50", size=224, batch=128, width=8192)
    encoder, expander = 23_508_032, 2048 * 8192 + 2 * 8192 * 8192 + 3 * 8192 + 4 * 8192
    cost = step_cost(config)
    assert cost.state == pytest.approx(3 * 4 * 2 * (encoder + expander), rel=1e-3)
    # 4.1 G multiply-adds per patch, one forward and two backward, for two branches
    products = 2 * 2 * 3 * 128 * (4.09e9 + 2048 * 8192 + 2 * 8192**2)
    assert cost.operations == pytest.approx(products, rel=0.03)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("asymmetric", {"gradient_checkpointing": True}),
        ("supervised", {"gradient_checkpointing": True}),
        ("asymmetric", {"accumulate": 4}),
        ("asymmetric", {"precision": "bf16"}),
    ],
)
def test_memory_options_reduce_predicted_memory(kind: str, options: dict[str, object]) -> None:
    plain = run_config(Path(), Path(), kind=kind, encoder="resnet18", size=64, batch=64, width=64)
    saving = changed(plain, **options)
    assert step_cost(saving).working < step_cost(plain).working * 0.9
    assert step_cost_key(saving) != step_cost_key(plain)


def test_resident_bytes_match_the_feed(tissue: Store) -> None:
    config = run_config(tissue.path, Path())
    rows = tissue.indices("train")
    feed = Feed(tissue, rows, Pair(config.arm.modalities, "plain", 32), torch.device("cpu"))
    bytes_ = sum(images.nbytes for images in feed.resident.values())
    assert resident_bytes(config, tissue, len(rows)) == bytes_
    assert resident_bytes(config, tissue, 10**6) == 0
    frozen = changed(config, freeze=["privileged"])  # gets features instead of images
    assert resident_bytes(frozen, tissue, len(rows)) == bytes_ / 2
    gpu = changed(config, device="gpu", resident=3.5)  # 24 KB per patch as inputs, 3 KB as stored
    assert resident_bytes(gpu, tissue, 10**6) == 10**6 * 32 * 32 * 3


def test_plan_prints_the_cost_and_trains_nothing(
    tissue: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", str(tissue.path), "--out", str(tmp_path / "study"), "--plan"]
    command += ["--encoder", "test_resnet", "--size", "32", "--batch", "32", "--width", "64"]
    assert run([*command, "--time", "--device", "cpu"]) == 0
    output = capsys.readouterr().out
    assert "symmetric, shared, vicreg\tdownsample:7\t3\t0" in output
    assert "15 of 15 runs" in output
    assert "GB of memory in addition to PyTorch's own (asymmetric-independent" in output
    assert "hours on this CPU, one run after another: a step of supervised-" in output
    assert not (tmp_path / "study").exists()


def test_time_without_a_plan_is_refused(tissue: Store) -> None:
    with pytest.raises(ConfigError, match="--time is part of a plan; give --plan too"):
        study_config(tissue.path, Path("out"), time=True)
