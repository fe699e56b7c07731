"""Counts of genes normalised, and the genes that are taken of all."""

from collections.abc import Mapping, Sequence

import numpy as np

from morefromless.data.expression import Matrix
from morefromless.errors import ConfigError, DataError

TOTAL = 10_000
"""Counts that each spot is brought to before the logarithm."""


def log_normalise(values: Matrix) -> Matrix:
    """log(1 + 10,000 count / total), with the total of each spot: csr (spots, genes) float64.

    The total is over all genes of the file. Spots without counts stay zero.

    >>> from scipy import sparse
    >>> log_normalise(sparse.csr_matrix([[1.0, 3.0], [0.0, 0.0]])).toarray().round(2).tolist()
    [[7.82, 8.92], [0.0, 0.0]]
    """
    totals = np.asarray(values.sum(axis=1)).ravel()
    logs = values.copy()
    logs.data = np.log1p(logs.data * np.repeat(TOTAL / np.maximum(totals, 1), np.diff(logs.indptr)))
    return logs


def common_genes(sections: Mapping[str, Sequence[str]], count: int) -> list[str]:
    """Genes that every section has, in alphabetical order.

    Raises `ConfigError` where one section has fewer than `count` genes altogether, and `DataError`
    where the sections have fewer than `count` in common.

    >>> common_genes({"A": ["ESR1", "PGR"], "B": ["PGR", "ERBB2"]}, 1)
    ['PGR']
    """
    sets = {name: set(genes) for name, genes in sections.items()}
    smallest = min(sets, key=lambda name: len(sets[name]))
    if len(sets[smallest]) < count:
        raise ConfigError(
            f"genes={count} asks for more than the {len(sets[smallest])} genes of section "
            f"{smallest}; give fewer."
        )
    shared = set.intersection(*sets.values())
    if len(shared) < count:
        odd = min(sets, key=lambda name: sum(len(sets[name] & other) for other in sets.values()))
        raise DataError(
            f"Genes differ between sections: all {len(sets)} share {len(shared)}, fewer than "
            f"genes={count}, and {odd} has the fewest in common with the others; name genes alike "
            "in all of them, leave it out, or give fewer."
        )
    return sorted(shared)


def most_variable(parts: Sequence[Matrix], genes: Sequence[str], count: int) -> tuple[str, ...]:
    """The `count` genes of highest variance over the spots of all `parts`, alphabetically.

    `parts` are normalised, (spots, len(genes)) each. Of equal variances, the earlier name wins.
    """
    data = np.concatenate([part.data for part in parts])
    gene = np.concatenate([part.indices for part in parts])
    spots = max(sum(part.shape[0] for part in parts), 1)
    mean = np.bincount(gene, data, len(genes)) / spots
    zeros = spots - np.bincount(gene, minlength=len(genes))
    squares = np.bincount(gene, (data - mean[gene]) ** 2, len(genes)) + zeros * mean**2
    order = sorted(range(len(genes)), key=lambda g: (-squares[g], genes[g]))
    return tuple(sorted(genes[g] for g in order[:count]))
