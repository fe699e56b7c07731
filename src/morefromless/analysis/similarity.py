"""CKA between arms, averaged over all combinations of their runs (paper, Fig. 2)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement, product

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from morefromless.analysis.cka import Cka, Estimator
from morefromless.errors import ConfigError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LayerCka:
    """CKA of the layers of arm `a` with those of arm `b`, over combinations of their runs.

    Within one arm, the combinations are all pairs of different runs. Each pair counts once and is
    averaged over both directions, so the matrix is symmetric. Between two arms, each run of one arm
    is combined with each run of the other arm that has another seed.
    """

    a: str
    b: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    combinations: Floats
    """(combinations, rows, columns)."""
    equal_seeds: bool = False
    """Whether the runs of each combination have equal seeds, and so the same initial weights. Such
    combinations are used only if there are no others."""
    constant_layers: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Layers of `a` and of `b` whose features are constant in some run: their CKA is 0 / 0."""

    @property
    def mean(self) -> Floats:
        """(rows, columns)."""
        mean: Floats = self.combinations.mean(axis=0)
        return mean

    @property
    def spread(self) -> Floats:
        """(rows, columns): standard deviation over combinations, which share runs; NaN if there is
        only one."""
        return deviation(self.combinations)

    @property
    def shared(self) -> list[str]:
        """The layers that both arms have, in the order of `rows`."""
        return [name for name in self.rows if name in self.columns]

    @property
    def diagonal(self) -> Floats:
        """(combinations, layers that both arms have)."""
        rows, columns = (
            [layers.index(n) for n in self.shared] for layers in (self.rows, self.columns)
        )
        diagonal: Floats = self.combinations[:, rows, columns]
        return diagonal


def deviation(values: Floats) -> Floats:
    """Sample standard deviation along the first axis; NaN for a single value."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    result: Floats = values.std(axis=0, ddof=1)
    return result


def similarities(
    arms: Mapping[str, Sequence[nn.Module]],
    layers: Mapping[str, Sequence[str]],
    batches: Iterable[Mapping[str, Tensor]],
    seeds: Mapping[str, Sequence[int]],
    estimator: Estimator = "unbiased",
) -> list[LayerCka]:
    """CKA of every arm with every other arm and, if it has two runs or more, with itself.

    `arms` maps each arm to the encoders of its runs, and `layers` to the names of their layers. A
    batch maps each arm to the input of its encoders, with the same patches for all arms. One
    encoder runs at a time, and only Gram matrices of a batch are kept (`Cka`). A layer whose
    features are constant in any run of an arm has no CKA and is excluded. `seeds` maps each arm to
    the seeds of its runs. Between two arms, pairs of runs with equal seeds are excluded, because
    such runs have the same initial weights. Raises `ConfigError` for fewer than two encoders.
    """
    names = {arm: [f"{arm} {number}" for number in range(len(runs))] for arm, runs in arms.items()}
    if sum(map(len, names.values())) < 2:
        raise ConfigError("CKA compares two encoders or more; give another run.")
    networks = {n: net for arm in arms for n, net in zip(names[arm], arms[arm], strict=True)}
    cka = Cka({name: layers[arm] for arm in arms for name in names[arm]}, estimator)
    for batch in batches:
        cka.add(networks, {name: batch[arm] for arm in arms for name in names[arm]})
    varying = {
        arm: [n for n in layers[arm] if not any(n in cka.constant(run) for run in names[arm])]
        for arm in arms
    }
    varying_layers = {run: varying[arm] for arm in arms for run in names[arm]}
    constant_layers = {a: tuple(n for n in layers[a] if n not in varying[a]) for a in arms}
    seed_of = {r: seed for arm in arms for r, seed in zip(names[arm], seeds[arm], strict=True)}
    results = []
    for a, b in combinations_with_replacement(arms, 2):
        pairs = list(combinations(names[a], 2) if a == b else product(names[a], names[b]))
        different = [(x, y) for x, y in pairs if seed_of[x] != seed_of[y]]
        matrices = [cka.between(x, y, varying_layers) for x, y in different or pairs]
        if a == b:
            # Both directions of a pair are one measurement, so the pair counts once.
            matrices = [(values + values.T) / 2 for values in matrices]
        if matrices:
            results.append(
                LayerCka(
                    a,
                    b,
                    tuple(varying[a]),
                    tuple(varying[b]),
                    np.stack(matrices),
                    equal_seeds=not different,
                    constant_layers=(constant_layers[a], constant_layers[b]),
                )
            )
    return results
