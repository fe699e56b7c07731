"""Normalise gene counts, and select genes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from morefromless.data.expression import Matrix
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError

TOTAL = 10_000
"""Total count to which each spot is scaled before the logarithm."""


def log_normalise(values: Matrix) -> Matrix:
    """log(1 + 10,000 count / total), with the total of each spot: csr (spots, genes) float64.

    The total includes all genes of the file. Spots without counts stay zero.

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

    Raises `ConfigError` if a section has fewer than `count` genes, and `DataError` if the sections
    have fewer than `count` genes in common.

    >>> common_genes({"A": ["ESR1", "PGR"], "B": ["PGR", "ERBB2"]}, 1)
    ['PGR']
    """
    sets = {name: set(genes) for name, genes in sections.items()}
    smallest = min(sets, key=lambda name: len(sets[name]))
    if len(sets[smallest]) < count:
        raise ConfigError(
            f"genes={count} is more than the {len(sets[smallest])} genes of section "
            f"{smallest}; give fewer."
        )
    shared = set.intersection(*sets.values())
    if len(shared) < count:
        odd = min(sets, key=lambda name: sum(len(sets[name] & other) for other in sets.values()))
        raise DataError(
            f"Genes differ between sections: all {len(sets)} share {len(shared)}, fewer than "
            f"genes={count}, and {odd} has the fewest in common with the others; use the same gene "
            "names in all sections, exclude this section, or give fewer."
        )
    return sorted(shared)


def read_gene_list(path: Path) -> tuple[str, ...]:
    """Genes of the array `expression` of a store, or of a text file with one name per line, in
    order. Raises `DataError` if there are none, or if one is listed twice."""
    if (path / "meta.json").is_file():
        store = Store.open(path)
        genes = store.meta.arrays["expression"].channels if "expression" in store.arrays else ()
    else:
        try:
            text = path.read_text("utf-8-sig")  # editors on Windows write a byte order mark
            genes = tuple(line.strip() for line in text.splitlines() if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path} is not a list of genes; set genes= to a number, a text file with one name "
                "per line, or a store with genes."
            ) from error
    duplicates = [name for name, count in Counter(genes).items() if count > 1]
    if not genes or duplicates:
        what = f"lists the gene {duplicates[0]} twice" if duplicates else "lists no genes"
        raise DataError(f"{path} {what}; set genes= to another list.")
    return genes


def check_gene_list(
    sections: Mapping[str, Sequence[str]], listed: Sequence[str], path: Path
) -> None:
    """Raise `DataError` if a listed gene is missing in a section."""
    for name, genes in sections.items():
        section_genes = set(genes)
        if lacking := [gene for gene in listed if gene not in section_genes]:
            raise DataError(
                f"Section {name} has no counts of {len(lacking):,} of the {len(listed):,} genes of "
                f"{path}, such as {lacking[0]}; exclude the section, or give a shorter list."
            )


def most_variable(parts: Sequence[Matrix], genes: Sequence[str], count: int) -> tuple[str, ...]:
    """The `count` genes with the highest variance over the spots of all `parts`, alphabetically.

    `parts` are normalised, (spots, len(genes)) each. Ties are resolved alphabetically.
    """
    data = np.concatenate([part.data for part in parts])
    gene = np.concatenate([part.indices for part in parts])
    spots = max(sum(part.shape[0] for part in parts), 1)
    mean = np.bincount(gene, data, len(genes)) / spots
    zeros = spots - np.bincount(gene, minlength=len(genes))
    squares = np.bincount(gene, (data - mean[gene]) ** 2, len(genes)) + zeros * mean**2
    order = sorted(range(len(genes)), key=lambda g: (-squares[g], genes[g]))
    return tuple(sorted(genes[g] for g in order[:count]))
