"""CKA between layers of the encoders of several arms, on the same patches of a store."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from morefromless.analysis.layers import execution_order, select_layers
from morefromless.analysis.similarity import LayerCka, similarities
from morefromless.config import Analysis
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.progress import Bar

Rows = npt.NDArray[np.int64]


def layer_cka(
    arms: Mapping[str, Sequence[FrozenEncoder]],
    store: Store,
    rows: Rows,
    analysis: Analysis,
    device: str,
) -> list[LayerCka]:
    """CKA between the layers of every two arms, on the same patches `rows`.

    All encoders of one arm have the same architecture and modality. At most `analysis.cka_patches`
    patches are sampled and divided evenly into batches, because the unbiased estimator cannot use a
    last batch of one patch. Between two arms, pairs of runs with equal seeds are excluded, because
    they have the same initial weights. Raises `ConfigError` if there are too few patches.
    """
    unbiased = analysis.estimator == "unbiased"
    min_patches = 4 if unbiased else 2
    if len(rows) < min_patches:
        raise ConfigError(
            f"{analysis.estimator} CKA needs {min_patches} patches or more, but there are "
            f"{len(rows)}."
        )
    sample = rows
    if 0 < analysis.cka_patches < len(rows):
        rng = np.random.default_rng(analysis.seed)
        sample = np.sort(rng.choice(rows, max(analysis.cka_patches, min_patches), replace=False))
    firsts = {arm: encoders[0] for arm, encoders in arms.items()}
    for encoders in arms.values():
        for frozen in encoders:
            frozen.encoder.eval().to(device)
    layers = {
        arm: execution_order(
            first.encoder,
            select_layers(first.encoder, analysis.layers),
            first.render(store, sample[:2], device),
        )
        for arm, first in firsts.items()
    }

    def batches() -> Iterator[dict[str, Tensor]]:
        # Shuffled: a store is sorted by class, so each batch would contain a single class.
        order = np.random.default_rng(analysis.seed).permutation(sample)
        parts = np.array_split(order, count_batches(len(sample), analysis))
        for part in Bar(parts, desc="CKA", unit="batch"):
            yield {arm: first.render(store, part, device) for arm, first in firsts.items()}

    networks = {arm: [frozen.encoder for frozen in encoders] for arm, encoders in arms.items()}
    seeds = {arm: [frozen.seed for frozen in encoders] for arm, encoders in arms.items()}
    return similarities(networks, layers, batches(), seeds, analysis.estimator)


def count_batches(patches: int, analysis: Analysis) -> int:
    """Number of batches for CKA of this many patches."""
    if analysis.estimator == "biased":
        return 1
    return max(1, patches // analysis.cka_batch)
