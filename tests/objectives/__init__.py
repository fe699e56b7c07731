"""Random embeddings for tests of objectives, and the branches of a conformance case."""

import torch
from torch import Tensor

from tests.conformance import Case

PRECISIONS = {"f64": torch.float64, "f32": torch.float32}


def branches(case: Case, dtype: torch.dtype) -> list[Tensor]:
    arrays = [case.inputs[name] for name in sorted(case.inputs)]
    return [torch.tensor(array, dtype=dtype, requires_grad=True) for array in arrays]


def draw(*shape: int, count: int = 2, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(count)]
