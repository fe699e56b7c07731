"""Selection of the device, and the error if there is no GPU."""

import pytest
import torch

from morefromless.devices import available_gpus, resolve_device
from morefromless.errors import ConfigError


def test_device_without_a_gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    assert available_gpus() == []
    with pytest.raises(ConfigError, match="PyTorch finds no GPU"):
        resolve_device("gpu")


def test_device_with_gpus_is_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == resolve_device("gpu") == "cuda"
    assert resolve_device("cpu") == "cpu"
    assert available_gpus("cpu") == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert available_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert available_gpus() == ["5", "7"]
