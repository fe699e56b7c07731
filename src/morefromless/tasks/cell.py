"""The type of nucleus that a patch has most of."""

from dataclasses import dataclass
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
"""Each run of a study asks anew, and there may be millions of nuclei."""


@dataclass(frozen=True)
class Cell(Task):
    """The cell type most present in a patch: the paper's second task (2.1).

    The type of most of its nuclei; Background where it has none. The paper is silent on ties and
    on nuclei without a type (type 0); the defaults are what the published code does: of equally
    frequent types the one whose first nucleus is listed first, and type 0 counts as any other, so
    that a patch of mostly untyped nuclei is Background too.

    `by=area` asks for the type that covers most pixels (then pieces of nuclei that a neighbouring
    patch counts are in it, for they are seen). `ties=lowest` takes the lowest code of equals.
    `untyped=exclude` passes over type 0 unless there is nothing else. Classes are the scheme's
    types, those that no patch has most of left out.
    """

    by: Literal["number", "area"] = "number"
    ties: Literal["first", "lowest"] = "first"
    untyped: Literal["count", "exclude"] = "count"

    def __post_init__(self) -> None:
        allowed = {
            "by": get_args(Literal["number", "area"]),
            "ties": get_args(Literal["first", "lowest"]),
            "untyped": get_args(Literal["count", "exclude"]),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ConfigError(
                    f"cell:{name}={getattr(self, name)} is not known; give {' or '.join(values)}."
                )

    def labels(self, store: Store) -> tuple[tuple[str, ...], Codes]:
        types = store.scheme.types
        if store.scheme.name == UNTYPED.name:
            raise DataError(
                f"The nuclei of {store.path} have no types, so the task cell asks nothing; ingest "
                "nuclei with types, or ask the task tissue where patches have classes."
            )
        known = _codes.setdefault(store, {})
        if self not in known:
            known[self] = self.most(store.nuclei, len(store.table))
        codes = known[self]
        present = np.unique(codes)
        return tuple(types[code] for code in present), np.searchsorted(present, codes)

    def most(self, nuclei: pd.DataFrame, patches: int) -> Codes:
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
