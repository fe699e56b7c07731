"""Machine options do not change a run: compiled branches and gradient checkpointing."""

from typing import Any

import pytest
import torch
from lightning_fabric.accelerators.mps import MPSAccelerator
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from morefromless.branches import Branch, Expander
from morefromless.config import RunConfig
from morefromless.encoders import Encoder, build_encoder
from morefromless.errors import ConfigError, TrainingError
from morefromless.identity import run_key
from morefromless.training import loop
from morefromless.training.checks import check
from morefromless.training.train import train
from tests.conftest import changed


def saved_bytes(encoder: Encoder, images: Tensor) -> tuple[int, Tensor]:
    """Bytes that the forward pass saves for the backward pass, and the features."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = encoder(images)
    return sum(sizes.values()), features


@pytest.mark.parametrize("spec", ["test_resnet", "test_vit:img_size=32", "keras-v1"])
def test_checkpointing_gives_the_same_gradients_in_less_memory(spec: str) -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 32, 32)
    plain, checkpointed = build_encoder(spec), build_encoder(spec)
    checkpointed.load_state_dict(plain.state_dict())
    checkpointed.checkpoint_gradients()
    (plain_bytes, a), (checkpointed_bytes, b) = (
        saved_bytes(e, images) for e in (plain, checkpointed)
    )
    assert checkpointed_bytes < plain_bytes / 1.5
    for features in (a, b):
        features.square().sum().backward()
    for expected, actual in zip(plain.parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(expected.grad, actual.grad)


def test_checkpointed_run_has_the_same_weights_and_statistics(
    pretraining: RunConfig, tmp_path: Any
) -> None:
    plain = changed(pretraining, epochs=1)
    checkpointed = changed(plain, gradient_checkpointing=True, out=tmp_path / "other")
    a, b = (train(config).weights() for config in (plain, checkpointed))
    assert a.keys() == b.keys()
    for name, weights in a.items():
        torch.testing.assert_close(b[name], weights, rtol=1e-4, atol=1e-6)


def test_compiled_branch_has_the_same_values_and_weight_names() -> None:
    torch.manual_seed(0)
    plain, compiled = (Branch(build_encoder("test_resnet"), Expander(96, 16)) for _ in range(2))
    names = list(plain.state_dict())
    compiled.load_state_dict(plain.state_dict())
    compiled.compile(backend="eager")  # traced only; compiling C++ would take a minute
    images = torch.rand(4, 3, 32, 32)
    for expected, actual in zip(plain(images), compiled(images), strict=True):
        torch.testing.assert_close(expected, actual)
    assert list(compiled.state_dict()) == names


def test_compile_option_compiles_branches_and_classifiers(
    pretraining: RunConfig, supervision: RunConfig, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(loop, "check_compile", compiled.append)
    monkeypatch.setattr(nn.Module, "compile", lambda part: compiled.append(type(part).__name__))
    train(changed(pretraining, compile=True, epochs=1))
    train(changed(supervision, compile=True, epochs=1, out=tmp_path / "supervised"))
    assert compiled == ["cpu", "Branch", "Branch", "cpu", "Classifier"]


def test_network_that_cannot_be_compiled_is_an_error(
    pretraining: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake_compile(part: nn.Module) -> None:
        def raise_error(*_: Any) -> None:
            raise TorchDynamoException("NotImplementedError: no lowering\nmore")

        monkeypatch.setattr(part, "forward", raise_error)

    monkeypatch.setattr(loop, "check_compile", lambda _: None)
    monkeypatch.setattr(nn.Module, "compile", fake_compile)
    with pytest.raises(TrainingError, match=r"does not work with this network \(NotImpl.*ing\); r"):
        train(changed(pretraining, compile=True, epochs=1))


def test_machine_options_do_not_change_the_run_key(pretraining: RunConfig) -> None:
    with_machine_options = changed(pretraining, compile=True, gradient_checkpointing=True)
    assert run_key(with_machine_options, "data") == run_key(pretraining, "data")


def test_missing_compiler_is_an_error_before_training(
    pretraining: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_missing_compiler(*_: Any, **__: Any) -> Any:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found.\nSet CXX.")

    monkeypatch.setattr(torch, "compile", raise_missing_compiler)
    config = changed(pretraining, compile=True)
    with pytest.raises(ConfigError, match=r"No working C\+\+ compiler found.*install a C\+\+ comp"):
        train(config)
    assert not config.out.exists()


def test_incompatible_options_are_refused(pretraining: RunConfig) -> None:
    with pytest.raises(
        ConfigError, match=r"'mlp.*' does not support --gradient-checkpointing; use --accumulate"
    ):
        check(
            changed(
                pretraining,
                privileged="vector:5",
                privileged_encoder="mlp",
                gradient_checkpointing=True,
            )
        )
    with pytest.raises(ConfigError, match="both recompute activations; give one"):
        changed(pretraining, gradient_checkpointing=True, accumulate=2)
    with pytest.raises(ConfigError, match="--compile is for one device, not 2"):
        changed(pretraining, compile=True, devices=2)


def test_auto_device_is_the_cpu_without_cuda(
    pretraining: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = train(changed(pretraining, device="auto"))
    assert run.record.facts["device"] == "cpu"
