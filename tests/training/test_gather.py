"""A batch split over two processes has the same loss and gradients as in one process.

Two real processes communicate through gloo on the CPU. Two linear branches are tested first, then a
ResNet and an EfficientNet with their expanders and synchronised BatchNorms.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from morefromless.branch_plans import plan_branches
from morefromless.branches import Branches
from morefromless.errors import TrainingError
from morefromless.objectives import Objective
from morefromless.objectives.barlow_twins import BarlowTwins
from morefromless.objectives.clip import Clip
from morefromless.objectives.simclr import SimCLR
from morefromless.objectives.vicreg import VICReg
from morefromless.objectives.vse import Vse
from morefromless.training.gather import gather
from morefromless.training.synchronise import synchronise
from tests.conftest import run_config

pytestmark = pytest.mark.xdist_group("server")  # they share a slow fixture

PROCESSES = 2
OBJECTIVES: dict[str, Objective] = {
    "vicreg official": VICReg("official"),
    "vicreg authors": VICReg("authors"),
    "simclr nt-xent": SimCLR("nt-xent"),
    "simclr authors": SimCLR("authors"),
    "barlow twins official": BarlowTwins("official"),
    "barlow twins authors": BarlowTwins("authors"),
    "clip": Clip(),
    "vse++ hardest": Vse("hardest"),
    "vse++ all": Vse("all"),
}


class Pair(nn.Module):
    """Two branches with independent weights."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first, self.second = nn.Linear(6, 9), nn.Linear(6, 9)
        self.double()
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator).double() / 3

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.first(images[:, 0]), self.second(images[:, 1])]


class RealPair(nn.Module):
    """Trained branches, with BatchNorm in encoders and expanders."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        options = run_config(Path(), Path(), privileged_encoder="test_efficientnet")
        self.branches = Branches(plan_branches(options), 16).double()

    def forward(self, images: Tensor) -> list[Tensor]:
        inputs = {"primary": images[:, 0], "privileged": images[:, 1]}
        return [z for _, z in self.branches(inputs).values()]


def batch() -> Tensor:
    return torch.randn(8, 2, 6, generator=torch.Generator().manual_seed(2)).double()


def patches() -> Tensor:
    """Patches, of which the bright half is on the second process."""
    images = torch.rand(8, 2, 3, 32, 32, generator=torch.Generator().manual_seed(4)).double()
    images[:4] *= 0.3
    return images


def step(model: nn.Module, images: Tensor, objective: Objective) -> dict[str, Tensor]:
    loss = objective([gather(z) for z in model(images)])
    loss.total.backward()
    gradients = {
        name.removeprefix("module."): parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    buffers = {name.removeprefix("module."): b.clone() for name, b in model.named_buffers()}
    return {"loss": loss.total.detach(), **gradients, **buffers}


def worker(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=PROCESSES
    )
    local_rows = batch().chunk(PROCESSES)[rank]
    results: dict[str, Any] = {
        name: step(DistributedDataParallel(Pair()), local_rows, objective)
        for name, objective in OBJECTIVES.items()
    }
    local_patches = patches().chunk(PROCESSES)[rank]
    for name, objective in OBJECTIVES.items():
        model = DistributedDataParallel(synchronise(RealPair(), "cpu"))
        results[f"real {name}"] = step(model, local_patches, objective)
    results["rows"] = gather(local_rows)
    results["bfloat16"] = gather(local_rows.bfloat16())
    try:
        gather(local_rows[: 4 - rank])
    except TrainingError as error:
        results["error"] = str(error)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def worker_results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gather")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        mp.start_processes(worker, args=(folder,), nprocs=PROCESSES, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_match_those_of_the_undivided_batch(
    name: str, worker_results: list[dict[str, Any]]
) -> None:
    expected = step(Pair(), batch(), OBJECTIVES[name])
    halves = [step(Pair(), half, OBJECTIVES[name]) for half in batch().chunk(PROCESSES)]
    for result in worker_results:
        assert result[name].keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(result[name][key], value, rtol=1e-6, atol=1e-12)
    # The comparison is only meaningful if the mean of the halves differs.
    assert not torch.allclose((halves[0]["loss"] + halves[1]["loss"]) / 2, expected["loss"])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_batch_norm_is_synchronised_over_processes(
    name: str, worker_results: list[dict[str, Any]]
) -> None:
    """Loss, gradients, and the running statistics, which evaluation uses."""
    expected = step(RealPair(), patches(), OBJECTIVES[name])
    assert sum("running_var" in key for key in expected) > 20
    for result in worker_results:
        assert result[f"real {name}"].keys() == expected.keys()
        for key, value in expected.items():
            # The gradient of a bias before a BatchNorm is rounding error: the bound is absolute.
            torch.testing.assert_close(
                result[f"real {name}"][key],
                value,
                rtol=1e-5,
                atol=1e-10,
                msg=lambda message, key=key: f"{key}: {message}",
            )


@pytest.mark.parametrize("encoder", ["test_resnet", "test_efficientnet"])
def test_synchronise_does_not_change_a_single_process(encoder: str) -> None:
    """In training and evaluation, with and without autocast; names of weights stay the same."""
    torch.manual_seed(5)
    options = run_config(Path(), Path(), encoder=encoder)
    plain, synchronised = Branches(plan_branches(options), 16), Branches(plan_branches(options), 16)
    synchronised.load_state_dict(plain.state_dict())
    synchronise(synchronised, "cpu")
    assert list(plain.state_dict()) == list(synchronised.state_dict())
    images = {name: torch.rand(6, 3, 32, 32) for name in plain.names}
    for mode in (True, False):
        plain.train(mode)
        synchronised.train(mode)
        for (_, a), (_, b) in zip(
            plain(images).values(), synchronised(images).values(), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(z.isfinite().all() for _, z in synchronised(images).values())


def test_rows_are_gathered_in_rank_order(worker_results: list[dict[str, Any]]) -> None:
    for result in worker_results:
        torch.testing.assert_close(result["rows"], batch(), rtol=0, atol=0)
        torch.testing.assert_close(result["bfloat16"], batch().bfloat16(), rtol=0, atol=0)


def test_unequal_batches_are_refused_on_every_process(worker_results: list[dict[str, Any]]) -> None:
    for result in worker_results:
        assert "different sizes (4, 3 in rank order)" in result["error"]


def test_gather_returns_the_same_tensor_in_a_single_process() -> None:
    z = torch.ones(2, 3)
    assert gather(z) is z
