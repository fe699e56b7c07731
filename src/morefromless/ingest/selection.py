"""Select the decoded patches of a store and assign the split of each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import pandas as pd

from morefromless.config import IngestConfig
from morefromless.data import splits
from morefromless.data.labels import UNLABELLED, tissue_classes
from morefromless.data.splits import MEASURED_ADVICE, Split
from morefromless.data.store_meta import SplitRule
from morefromless.errors import DataError
from morefromless.ingest.decoding import Record, count_kinds
from morefromless.ingest.listing import follows_source
from morefromless.sources import Item

SPLIT_PRECEDENCE = {"test": 0, "val": 1, "train": 2}
"""If a patch has copies in several splits, the copy in the first of these splits is kept."""

MIN_GROUPS = 6
"""With this many test groups, all signs agree by chance in less than 5 % of cases: 2 / 2^6."""


@dataclass
class Selection:
    """The listing as a table, with the decision on each item. Row i is item i."""

    table: pd.DataFrame
    """The columns of the store, `absent` (names of missing arrays) and `reason` (why the patch is
    rejected, or None)."""
    rule: SplitRule
    """Origin of the split."""
    groups_known: bool
    omitted: dict[str, int]
    """Parts of the source that were skipped: kind -> count."""
    caveats: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> pd.DataFrame:
        return self.table[self.table["reason"].isna()]

    @property
    def rejected(self) -> pd.DataFrame:
        return self.table[self.table["reason"].notna()]

    @property
    def um_per_px(self) -> float | None:
        """Scale of all accepted patches, or None if it is not known or not the same for all."""
        scales = self.accepted["um_per_px"].unique()
        return float(scales[0]) if len(scales) == 1 and not np.isnan(scales[0]) else None

    @property
    def absent(self) -> dict[str, dict[str, int]]:
        """Array -> split -> number of accepted patches without it. Zero counts are excluded."""
        splits, absent = self.accepted["split"], self.accepted["absent"]
        counts = Counter((n, s) for s, names in zip(splits, absent, strict=True) for n in names)
        return {
            name: {s: counts[name, s] for s in get_args(Split) if (name, s) in counts}
            for name in sorted({name for name, _ in counts})
        }


def select(
    items: Sequence[Item],
    records: Sequence[Record],
    side: int,
    um_per_px: float | None,
    config: IngestConfig,
    classes_needed: int,
) -> Selection:
    """Accept or reject every item. Raises `DataError` if the accepted items cannot make a store.

    `side` is the side of the stored patches in px, and `um_per_px` the scale before resizing.
    """
    table = _table(items, records, side, um_per_px)
    known = bool(table["group"].notna().all())
    omitted = Counter[str]()
    for record in records:
        if record.omitted:
            omitted.update(record.omitted)
    several = table.loc[table["reason"].isna(), "group"].nunique() > 1
    rule: SplitRule = "group" if known and several else "label"
    if config.split == "test":
        rule, table["split"] = "test", "test"
    elif follows_source(items, config.split):
        rule = "source"
    selection = Selection(table, rule, known, dict(omitted))
    _reject_copies(table, rule)
    if rule == "label":
        _reject_singletons(table)
    if config.strict and len(selection.rejected):
        first = selection.rejected.iloc[0]
        raise strict_error(first["origin"], first["reason"])
    _check_enough_classes(selection, classes_needed)
    if rule in ("group", "label"):
        _draw(selection, config)
    if rule != "test":
        splits.check_classes(list(selection.accepted["label"]), list(selection.accepted["split"]))
    selection.caveats = [
        *_caveats(selection, items, config),
        *_unlabelled(selection),
        *_absences(selection),
        *_magnifications(selection),
    ]
    return selection


def strict_error(origin: str, reason: str) -> DataError:
    """The error for the first rejected patch in strict mode."""
    return DataError(
        f"'{origin}' cannot be used ({reason}); run without --strict to reject it and continue."
    )


def _table(
    items: Sequence[Item], records: Sequence[Record], side: int, um_per_px: float | None
) -> pd.DataFrame:
    scales = [
        um_per_px * record.side / side if um_per_px and record.side else None for record in records
    ]
    columns = {
        "id": [item.id for item in items],
        "label": [item.label for item in items],
        "split": [item.split for item in items],
        "group": [item.group for item in items],
        "um_per_px": scales,
        "origin": [item.origin for item in items],
        "x": [item.place and item.place[0] for item in items],
        "y": [item.place and item.place[1] for item in items],
        "hash": [record.hash for record in records],
        "absent": [tuple(record.absent) for record in records],
        "reason": [record.reason for record in records],
    }
    # dtype object keeps None, regardless of the type that pandas would choose for a column.
    return pd.DataFrame(columns, dtype=object).astype(
        {"um_per_px": np.float64, "x": "Int64", "y": "Int64"}
    )


def _reject_copies(table: pd.DataFrame, rule: SplitRule) -> None:
    """Reject copies of patches with the same pixels; the first one is kept.

    Labelled copies are preferred. If the split is given, only copies across splits are rejected;
    if it is still to be drawn, all copies are.
    """
    given = rule in ("source", "test")
    ids, labels, sides = (table[name].tolist() for name in ("id", "label", "split"))
    hashes = table["hash"].tolist()
    rows = [row for row, reason in enumerate(table["reason"]) if reason is None]
    rows.sort(key=lambda row: (given and SPLIT_PRECEDENCE[sides[row]], labels[row] == UNLABELLED))
    first: dict[str, int] = {}
    for row in rows:
        twin = first.setdefault(hashes[row], row)
        if twin == row or (given and sides[twin] == sides[row]):
            continue
        kind = "copy of another split's" if given else "copy"
        if len(tissue_classes([labels[twin], labels[row]])) == 2:
            kind += " under another label"
        table.at[row, "reason"] = f"{kind}: same pixels as {ids[twin]}"


def _reject_singletons(whole: pd.DataFrame) -> None:
    table = _labelled(whole)
    counts = table[table["reason"].isna()].groupby("label")["id"].transform("size")
    singletons = counts.index[counts == 1]
    if 2 * len(singletons) > len(table):
        raise DataError(
            f"{len(singletons)} of {len(table)} labelled patches are the only one of their class, "
            f"but a class needs two, for train and test. {MEASURED_ADVICE}"
        )
    for row in singletons:
        whole.at[row, "reason"] = "alone in its class: a class needs two, for train and test"


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of patches with a label, or all rows if no patch has one."""
    return table[table["label"].isin(tissue_classes(table["label"]))]


def _draw(selection: Selection, config: IngestConfig) -> None:
    accepted = selection.accepted
    labels = list(accepted["label"])
    if selection.rule == "group":
        test = splits.by_group(labels, list(accepted["group"]), config.test_share, config.seed)
    else:
        test = splits.by_label(labels, config.test_share, config.seed)
    selection.table["split"] = None
    selection.table.loc[accepted.index, "split"] = np.where(test, "test", "train")


def _check_enough_classes(selection: Selection, needed: int) -> None:
    labels = sorted(tissue_classes(selection.accepted["label"]))
    if len(labels) >= needed:
        return
    remainder = f"only class '{labels[0]}' is left" if labels else "none is left"
    kind, count = count_kinds(selection.rejected["reason"]).most_common(1)[0]
    reason = next(r for r in selection.rejected["reason"] if r.partition(":")[0] == kind)
    raise DataError(
        f"Of {len(selection.table)} patches {remainder}; the most common reason for rejection "
        f"({count} patches) is '{reason}'."
    )


def _absences(selection: Selection) -> list[str]:
    sentences = []
    for name, counts in selection.absent.items():
        total = sum(counts.values())
        by_split = ", ".join(f"{count:,} {split}" for split, count in counts.items())
        sentences.append(
            f"{name} is missing in {total:,} of {len(selection.accepted):,} patches ({by_split})."
        )
    return sentences


def _unlabelled(selection: Selection) -> list[str]:
    accepted = selection.accepted
    counts = accepted["split"].drop(_labelled(accepted).index).value_counts()
    if not len(counts):
        return []
    by_split = ", ".join(f"{counts[s]:,} {s}" for s in get_args(Split) if s in counts)
    trained = "self-supervised training uses those in train; " * ("train" in counts)
    return [
        f"{counts.sum():,} of {len(accepted):,} patches have no label ({by_split}): {trained}"
        "probes, floors and supervised arms of the task tissue skip them."
    ]


def _magnifications(selection: Selection) -> list[str]:
    scales = selection.accepted["um_per_px"]
    if selection.um_per_px is not None or scales.isna().all():
        return []
    return [
        f"Patches have {scales.min():.3g} to {scales.max():.3g} µm per px, because several sizes "
        "were resized to one, so the store has no single magnification."
    ]


def _caveats(selection: Selection, items: Sequence[Item], config: IngestConfig) -> list[str]:
    caveats = []
    source_splits = sorted({item.split for item in items if item.split})
    if source_splits and selection.rule != "source":
        why = "because it has no train or no test" if config.split == "auto" else "as requested"
        instead = (
            "every patch is in test"
            if selection.rule == "test"
            else "train and test were drawn at random "
            f"(seed {config.seed}, {config.test_share:.0%} test)"
        )
        caveats.append(
            f"The source's own split ({', '.join(source_splits)}) is not used, {why}: {instead}."
        )
    if selection.groups_known:
        groups = selection.accepted.groupby("split")["group"].unique()
        both = set(groups.get("train", [])) & set(groups["test"])
        if both:
            groups_stand = "1 group is" if len(both) == 1 else f"{len(both)} groups are"
            caveats.append(f"{groups_stand} in both train and test (patients or slides).")
        labelled = _labelled(selection.accepted)
        test = labelled.loc[labelled["split"] == "test", "group"].nunique()
        if test < MIN_GROUPS:
            partly = len(labelled) < len(selection.accepted)
            labels, which_task = (" with labels", " in the task tissue") if partly else ("", "")
            caveats.append(
                f"{test} test group{'s' * (test != 1)}{labels} (patients or slides): no difference "
                f"between arms can be shown{which_task}; this needs at least {MIN_GROUPS} groups, "
                "and more for several contrasts."
            )
        return caveats
    known_count = int(selection.table["group"].notna().sum())
    known = f"known for only {known_count} of {len(items)} patches" if known_count else "not known"
    unless = ", unless the source's split separates patients" if selection.rule == "source" else ""
    consequence = (
        "intervals treat patches as independent and are too narrow"
        if selection.rule == "test"
        else f"patches of one patient may be in both train and test{unless}"
    )
    caveats.append(f"Groups (patients or slides) are {known}: {consequence}.")
    return caveats
