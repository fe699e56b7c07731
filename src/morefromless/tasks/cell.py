"""The most frequent type of nucleus in a patch."""

from dataclasses import dataclass, fields
from typing import Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd

from morefromless.data.schemes import UNTYPED
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.tasks import Task

Codes = npt.NDArray[np.int64]

_codes: WeakKeyDictionary[Store, dict["Cell", Codes]] = WeakKeyDictionary()
"""Cache: each run of a study needs the labels, and there may be millions of nuclei."""


@dataclass(frozen=True)
class Cell(Task):
    """The cell type most present in a patch: the paper's second task (2.1).

    The type of most of its nuclei, or Background if it has none. The paper does not define ties and
    nuclei without a type (type 0). The defaults follow the published code. Of equally frequent
    types, the one whose first nucleus is listed first is used. Type 0 counts like any other, so a
    patch of mostly untyped nuclei is also Background.

    `by=area` uses the type that covers most pixels. It includes pieces of nuclei that are counted
    in a neighbouring patch, because they are visible. `ties=lowest` uses the lowest type code in a
    tie. `untyped=exclude` ignores type 0 unless there is nothing else. Classes are the types of
    the scheme that are the label of some patch.
    """

    by: Literal["number", "area"] = "number"
    ties: Literal["first", "lowest"] = "first"
    untyped: Literal["count", "exclude"] = "count"

    def __post_init__(self) -> None:
        for field in fields(self):
            value, words = getattr(self, field.name), get_args(field.type)
            if value not in words:
                raise ConfigError(
                    f"cell:{field.name}={value} is not known; give {' or '.join(words)}."
                )

    def labels(self, store: Store) -> tuple[tuple[str, ...], Codes]:
        types = store.scheme.types
        if store.scheme.name == UNTYPED.name:
            raise DataError(
                f"The nuclei of {store.path} have no types, so the task cell is undefined; ingest "
                "nuclei with types, or use the task tissue if patches have classes."
            )
        cached_codes = _codes.setdefault(store, {})
        if self not in cached_codes:
            cached_codes[self] = self.most_frequent_types(store.nuclei, len(store.table))
        codes = cached_codes[self]
        present = np.unique(codes)
        return tuple(types[code] for code in present), np.searchsorted(present, codes)

    def most_frequent_types(self, nuclei: pd.DataFrame, patches: int) -> Codes:
        """Type code of each of `patches` patches, from a `data.nuclei.nuclei_table`."""
        rows = nuclei if self.by == "area" else nuclei[nuclei["counted"]]
        if self.untyped == "exclude":
            rows = rows[rows["type"] > 0]
        numbered = rows.assign(place=np.arange(len(rows)), number=1)
        counts = numbered.groupby(["patch", "type"], as_index=False).agg(
            {"number": "sum", "area": "sum", "place": "min"}
        )
        tie = "place" if self.ties == "first" else "type"
        ordered = counts.sort_values(["patch", self.by, tie], ascending=[True, False, True])
        winners = ordered.drop_duplicates("patch")
        codes = np.zeros(patches, np.int64)
        codes[winners["patch"].to_numpy(np.int64)] = winners["type"].to_numpy(np.int64)
        return codes
