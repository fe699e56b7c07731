"""Cost of a run before training: memory, from a step that computes shapes only, and time, from a
short measurement.

A step here is the forward pass, the backward pass and the Adam update of a run's network. Views
and objective are excluded: they take a few per cent of the time and little memory.
"""

import time
import weakref
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from morefromless.branch_plans import plan_branches
from morefromless.branches import Branches
from morefromless.config import RunConfig
from morefromless.data.store import Store
from morefromless.devices import resolve_device
from morefromless.errors import ConfigError
from morefromless.network_size import untrained_network
from morefromless.pairs import build_modality, channels_last
from morefromless.training.checks import pair_of, supervised_pair
from morefromless.training.feed import choose_residency
from morefromless.training.partial import embed_in_parts
from morefromless.training.preparation import prepare

TIMED_STEPS = 3
"""Number of timed steps, after one warm-up step. Their mean is reported."""


@dataclass(frozen=True)
class Cost:
    """Cost of one step of a run, on each of its devices."""

    state: int
    """Bytes of weights and Adam's two moments, which are held between steps."""
    working: int
    """Peak bytes of a batch's images, the activations and the gradients."""
    operations: int
    """Floating-point operations of the convolutions and matrix products."""

    @property
    def memory(self) -> int:
        return self.state + self.working


def step_cost(config: RunConfig) -> Cost:
    """Cost of one step of this run, from shapes only, on PyTorch's meta device.

    Raises `ConfigError` if the encoder's shapes depend on computed values.
    """
    network = _network(config).to("meta")
    trained = sum(weights.numel() for weights in network.parameters() if weights.requires_grad)
    tensors = [*network.parameters(), *network.buffers()]
    state = sum(tensor.nbytes for tensor in tensors) + 2 * 4 * trained
    half = config.train.precision != "32"
    if half:  # the meta device has no autocast
        network.to(torch.bfloat16)
    with _CostRecorder(network) as shapes:
        try:
            _forward_backward(network, config, torch.device("meta"))
        except (RuntimeError, NotImplementedError) as error:
            raise ConfigError(
                f"The memory of '{config.train.encoder}' cannot be predicted, because its shapes "
                "depend on computed values; train a few steps and measure it."
            ) from error
    # In half precision, gradients still have 32 bits, and autocast adds a 16-bit copy of weights.
    working = shapes.peak + 4 * trained * half
    return Cost(state, working, shapes.operations)


def step_cost_key(config: RunConfig) -> tuple[Hashable, ...]:
    """Key of the cost of a step: runs with the same key have the same cost."""
    train, pairing, machine = config.train, config.pairing, config.machine
    branches: list[Hashable] = []
    if config.arm.supervised:
        branches = [(train.encoder, build_modality(config.arm.primary).shape(train.size))]
    else:
        keys: list[str] = []
        for plan in plan_branches(config):
            keys.append(plan.key)
            flags = plan.frozen, plan.no_expander, plan.target
            branches.append((keys.index(plan.key), plan.encoder, plan.input_shape, flags))
        branches += [pairing.width, pairing.accumulate]
    rows = train.batch // config.devices
    return (*branches, rows, train.precision, machine.gradient_checkpointing)


def resident_bytes(config: RunConfig, store: Store, patches: int) -> int:
    """Bytes of the training data that stay on the device (`training.feed`)."""
    pair = (
        supervised_pair(config)
        if config.arm.supervised
        else pair_of(config, [plan for plan in plan_branches(config) if not plan.frozen])
    )
    gpu = config.machine.device == "gpu" or resolve_device(config.machine.device) == "cuda"
    device = torch.device("cuda" if gpu and config.devices == 1 else "cpu")
    return choose_residency(store, pair, patches, device, config.machine.resident * 1e9)[1]


def step_seconds(config: RunConfig, device: str) -> float:
    """Seconds per step of this run on `cuda` or `cpu`: the mean of `TIMED_STEPS` steps."""
    where = torch.device(device)
    network = _network(config).to_empty(device=where)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.normal_(std=0.01) if tensor.is_floating_point() else tensor.zero_()
    optimizer = torch.optim.Adam([w for w in network.parameters() if w.requires_grad], fused=True)
    dtype = {"bf16": torch.bfloat16, "16": torch.float16}.get(config.train.precision)
    for number in range(TIMED_STEPS + 1):
        if number == 1:
            began = _now(where)
        with torch.autocast(device, dtype, enabled=dtype is not None):
            _forward_backward(network, config, where)
        optimizer.step()
        optimizer.zero_grad()
    return (_now(where) - began) / TIMED_STEPS


def _network(config: RunConfig) -> nn.Module:
    network = untrained_network(config).train()
    # The network of a supervised run is an encoder; in training it is part of a classifier.
    prepare(nn.ModuleDict({"encoder": network}), config.machine)
    return network


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _forward_backward(network: nn.Module, config: RunConfig, device: torch.device) -> None:
    rows = config.train.batch // config.devices
    if isinstance(network, Branches):
        images = {}
        for plan in plan_branches(config):
            encoder = network[plan.name].encoder
            shape = (encoder.width,) if plan.frozen else plan.input_shape
            images[plan.name] = _zeros(rows, shape, network, device)
        outputs = embed_in_parts(network, images, config.pairing.accumulate or 1, {})
    else:
        shape = build_modality(config.arm.primary).shape(config.train.size)
        images = {"primary": _zeros(rows, shape, network, device)}
        outputs = {"primary": network(images["primary"])}
    torch.stack([output.float().square().mean() for output in outputs.values()]).sum().backward()  # type: ignore[no-untyped-call]


def _zeros(rows: int, shape: tuple[int, ...], network: nn.Module, device: torch.device) -> Tensor:
    dtype = next(network.parameters()).dtype
    return channels_last(torch.zeros(rows, *shape, dtype=dtype, device=device))


class _CostRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the `peak` bytes of all tensors that exist at the same time, without the network's
    own, and the floating-point `operations` as PyTorch counts them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.operations = 0
        tensors = [*network.parameters(), *network.buffers()]
        self._network_storages = [tensor.untyped_storage() for tensor in tensors]
        self._counted = {id(storage) for storage in self._network_storages}

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf.untyped_storage())
        if count := flop_registry.get(function.overloadpacket):
            self.operations += count(*args, **kwargs, out_val=result)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        if id(storage) in self._counted:
            return
        self._counted.add(id(storage))
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, id(storage), storage.nbytes())

    def _remove(self, key: int, size: int) -> None:
        self._counted.discard(key)
        self.now -= size
