"""Which decoded patches are kept, and the split each stands in."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import pandas as pd

from morefromless.data import splits
from morefromless.data.store import Split, kinds
from morefromless.errors import DataError
from morefromless.ingest.decoding import Shape
from morefromless.ingest.journal import Entry
from morefromless.ingest.listing import follows_source
from morefromless.ingest.options import Options
from morefromless.sources import Item

PRECEDENCE = {"test": 0, "val": 1, "train": 2}
"""Of copies in several splits, the first of these keeps its own."""

FEWEST_GROUPS = 6
"""Of so many test groups the signs can all agree by chance in less than 5 % of cases: 2 / 2^6."""


@dataclass
class Selection:
    """The listing as a table, decided upon. Row i is item i."""

    table: pd.DataFrame
    """The store's columns; `absent`: names of arrays that it lacks; and `reason`: why it is set
    aside, or None."""
    rule: Literal["source", "group", "label"]
    """Where the split comes from: the source, whole groups drawn, or patches drawn by label."""
    groups_known: bool
    caveats: list[str] = field(default_factory=list)

    @property
    def kept(self) -> pd.DataFrame:
        return self.table[self.table["reason"].isna()]

    @property
    def aside(self) -> pd.DataFrame:
        return self.table[self.table["reason"].notna()]

    @property
    def absent(self) -> dict[str, dict[str, int]]:
        """Array to number of patches kept without it, by split; the others are not named."""
        splits, absent = self.kept["split"], self.kept["absent"]
        counts = Counter((n, s) for s, names in zip(splits, absent, strict=True) for n in names)
        return {
            name: {s: counts[name, s] for s in get_args(Split) if (name, s) in counts}
            for name in sorted({name for name, _ in counts})
        }


def select(
    items: Sequence[Item],
    entries: dict[int, Entry],
    shape: Shape,
    um_per_px: float | None,
    options: Options,
    classes_needed: bool = True,
) -> Selection:
    """Decide on every item. Raises `DataError` where what is left makes no store.

    One class will do where classes are not needed, since nuclei pose a task of their own.
    """
    table = _table(items, entries, shape, um_per_px)
    known = bool(table["group"].notna().all())
    drawn = not follows_source(items, options.split)
    made = Selection(table, ("group" if known else "label") if drawn else "source", known)
    _set_aside_copies(table, made.rule)
    if made.rule == "label":
        _set_aside_single(table)
    if options.strict and len(made.aside):
        first = made.aside.iloc[0]
        raise DataError(
            f"'{first['origin']}' cannot be taken ({first['reason']}), and --strict was given."
        )
    _refuse_poor(made, 2 if classes_needed else 1)
    if drawn:
        _draw(made, options)
    splits.check_classes(list(made.kept["label"]), list(made.kept["split"]))
    made.caveats = _caveats(made, items, options) + _absences(made)
    return made


def _table(
    items: Sequence[Item], entries: dict[int, Entry], shape: Shape, um_per_px: float | None
) -> pd.DataFrame:
    told = [entries[index] for index in range(len(items))]
    scales = [
        um_per_px * entry.side / shape.side if um_per_px and entry.side else None for entry in told
    ]
    columns = {
        "id": [item.id for item in items],
        "label": [item.label for item in items],
        "split": [item.split for item in items],
        "group": [item.group for item in items],
        "um_per_px": scales,
        "origin": [item.origin for item in items],
        "hash": [entry.hash for entry in told],
        "absent": [tuple(entry.absent) for entry in told],
        "reason": [entry.reason for entry in told],
    }
    # As objects, so that None stays None whatever type pandas would choose for a column.
    return pd.DataFrame(columns, dtype=object).astype({"um_per_px": np.float64})


def _set_aside_copies(table: pd.DataFrame, rule: str) -> None:
    """Of equal patches the first keeps its place, across splits or, before a draw, altogether."""
    ids, labels, own = (table[name].tolist() for name in ("id", "label", "split"))
    hashes = table["hash"].tolist()
    rows = [row for row, reason in enumerate(table["reason"]) if reason is None]
    if rule == "source":
        rows.sort(key=lambda row: PRECEDENCE[own[row]])
    first: dict[str, int] = {}
    for row in rows:
        twin = first.setdefault(hashes[row], row)
        if twin == row or (rule == "source" and own[twin] == own[row]):
            continue
        kind = "copy of another split's" if rule == "source" else "copy"
        if labels[twin] != labels[row]:
            kind += " under another label"
        table.at[row, "reason"] = f"{kind}: same pixels as {ids[twin]}"


def _set_aside_single(table: pd.DataFrame) -> None:
    counts = table[table["reason"].isna()].groupby("label")["id"].transform("size")
    for row in counts.index[counts == 1]:
        table.at[row, "reason"] = "alone in its class: two are needed for train and test"


def _draw(made: Selection, options: Options) -> None:
    kept = made.kept
    labels = list(kept["label"])
    if made.groups_known:
        test = splits.by_group(labels, list(kept["group"]), options.test_share, options.seed)
    else:
        test = splits.by_label(labels, options.test_share, options.seed)
    made.table["split"] = None
    made.table.loc[kept.index, "split"] = np.where(test, "test", "train")


def _refuse_poor(made: Selection, needed: int) -> None:
    labels = sorted(made.kept["label"].unique())
    if len(labels) >= needed:
        return
    left = f"only class '{labels[0]}' is left" if labels else "nothing is left"
    kind, count = kinds(made.aside["reason"]).most_common(1)[0]
    reason = next(r for r in made.aside["reason"] if r.partition(":")[0] == kind)
    raise DataError(
        f"Of {len(made.table)} patches {left}; the commonest reason, for {count}, is '{reason}'."
    )


def _absences(made: Selection) -> list[str]:
    sentences = []
    for name, counts in made.absent.items():
        total = sum(counts.values())
        each = ", ".join(f"{count:,} {split}" for split, count in counts.items())
        sentences.append(f"{name} is absent from {total:,} of {len(made.kept):,} patches ({each}).")
    return sentences


def _caveats(made: Selection, items: Sequence[Item], options: Options) -> list[str]:
    caveats = []
    theirs = sorted({item.split for item in items if item.split})
    if theirs and made.rule != "source":
        why = "as asked" if options.split == "random" else "for lack of train or test"
        caveats.append(
            f"The source's own split ({', '.join(theirs)}) is not used, {why}: train and test were "
            f"drawn at random (seed {options.seed}, {options.test_share:.0%} test)."
        )
    if made.groups_known:
        held = made.kept.groupby("split")["group"].unique()
        both = set(held["train"]) & set(held["test"])
        if both:
            caveats.append(f"{len(both)} groups (patients or slides) stand in both train and test.")
        test = len(held["test"])
        if test < FEWEST_GROUPS:
            caveats.append(
                f"{test} test group{'s' * (test != 1)} (patients or slides): no difference between "
                f"arms can be shown, which takes at least {FEWEST_GROUPS}, and more for several "
                "contrasts."
            )
        return caveats
    some = int(made.table["group"].notna().sum())
    known = f"known for {some} of {len(items)} patches only" if some else "not known"
    unless = ", unless the source's split keeps patients apart" if made.rule == "source" else ""
    caveats.append(
        f"Groups (patients or slides) are {known}: patches of one patient may stand on both sides"
        f"{unless}."
    )
    return caveats
