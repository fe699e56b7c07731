"""An encoder and what it sees of a store's patches; and how alike the layers of several are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from morefromless.analysis.layers import chosen, in_order
from morefromless.analysis.similarity import LayerCka, similarities
from morefromless.data.store import Store
from morefromless.encoders import Encoder
from morefromless.errors import ConfigError
from morefromless.modalities import Modality
from morefromless.options import LookOptions
from morefromless.pairs import laid_out

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sight:
    """A frozen encoder of one modality."""

    encoder: Encoder
    modality: Modality
    size: int
    """Side in px of the images that it sees."""
    store: Store

    def see(self, rows: Rows, device: str = "cpu") -> Tensor:
        """What the encoder sees of some patches."""
        stored = torch.from_numpy(np.asarray(self.store.array(self.modality.array)[rows]))
        return laid_out(self.modality.render(stored.to(device), self.size))


def layer_cka(
    arms: Mapping[str, Sequence[Sight]], rows: Rows, options: LookOptions, device: str
) -> list[LayerCka]:
    """CKA between the layers of every two arms, whose encoders see the same patches, `rows`.

    All encoders of one arm have one architecture and see one modality. At most
    `options.cka_patches` patches are drawn, and shared out evenly over batches, for the unbiased
    estimator has no use for a last batch of one. Raises `ConfigError` where there are too few.
    """
    least = 4 if options.estimator == "unbiased" else 2
    if len(rows) < least:
        raise ConfigError(
            f"{options.estimator} CKA needs {least} patches or more, and {len(rows)} are tested."
        )
    drawn = rows
    if 0 < options.cka_patches < len(rows):
        draw = np.random.default_rng(options.seed)
        drawn = np.sort(draw.choice(rows, max(options.cka_patches, least), replace=False))
    firsts = {arm: sights[0] for arm, sights in arms.items()}
    for sights in arms.values():
        for one in sights:
            one.encoder.eval().to(device)
    layers = {
        arm: in_order(one.encoder, _chosen(one, options.layers), one.see(drawn[:2], device))
        for arm, one in firsts.items()
    }

    def batches() -> Iterator[dict[str, Tensor]]:
        count = max(1, len(drawn) // options.batch) if options.estimator == "unbiased" else 1
        # Shuffled, for patches stand in a store by class, and so would every batch be of one.
        order = np.random.default_rng(options.seed).permutation(drawn)
        for part in tqdm(
            np.array_split(order, count), desc="CKA", unit="batch", leave=False, dynamic_ncols=True
        ):
            yield {arm: one.see(part, device) for arm, one in firsts.items()}

    encoders = {arm: [one.encoder for one in sights] for arm, sights in arms.items()}
    return similarities(encoders, layers, batches(), options.estimator)


def _chosen(one: Sight, which: str) -> list[str]:
    if which in ("auto", "convolutions", "blocks"):
        return chosen(one.encoder, which)
    return chosen(one.encoder, [name.strip() for name in which.split("+")])
