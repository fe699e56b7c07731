"""Assign patches to train and test."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from morefromless.data.labels import tissue_classes
from morefromless.errors import DataError, quoted

Split = Literal["train", "val", "test"]
Mask = npt.NDArray[np.bool_]

MEASURED_ADVICE = "Labels must be classes: bin measured values into classes."


def by_label(labels: Sequence[str], share: float, seed: int) -> Mask:
    """Draw test patches at random within each class: (N,) bool, true for test.

    Of a class with n patches, round(share n) are in test, but at least 1 and at most n - 1;
    `labels` must contain each class at least twice. Patches without a label are in train.

    >>> int(by_label(["a"] * 4 + ["b"] * 8, 0.25, seed=0).sum())
    3
    """
    rng = np.random.default_rng(seed)
    names, label_of = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
    test = np.zeros(len(labels), dtype=bool)
    known = set(tissue_classes(names))
    for label in (index for index, name in enumerate(names) if name in known):
        members = rng.permutation(np.flatnonzero(label_of == label))
        test[members[: _share_of(len(members), share)]] = True
    return test


def by_group(labels: Sequence[str], groups: Sequence[str], share: float, seed: int) -> Mask:
    """Draw whole groups of test patches: (N,) bool, true for test.

    Groups are visited in random order. A group is added to test if this brings the classes' shares
    in test closer to `share`; the best of 32 random orders is used. Groups without a label are in
    train. Raises `DataError` if a class cannot be in both train and test.
    """
    names, group_of = np.unique(np.asarray(groups, dtype=object), return_inverse=True)
    known = set(tissue_classes(labels))
    labelled = np.array([label in known for label in labels])
    labels = [label for label in labels if label in known]
    classes, label_of = np.unique(np.asarray(labels, dtype=object), return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group_of[labelled], label_of), 1)
    lonely = (counts > 0).sum(axis=0) < 2
    if lonely.any():
        raise DataError(
            f"Only one group (patient or slide) has class {quoted(classes[lonely], ' or ')}, "
            "so it cannot be in both train and test; exclude the class (--drop), or ingest "
            f"without groups.{measured_hint(labels)}"
        )
    rng = np.random.default_rng(seed)
    candidates = [_draw_groups(counts, rng.permutation(len(names)), share) for _ in range(32)]
    test = min(candidates, key=lambda selected: _cost(counts[selected].sum(axis=0), counts, share))
    in_test = counts[test].sum(axis=0)
    one_sided = (in_test == 0) | (in_test == counts.sum(axis=0))
    if one_sided.any():
        raise DataError(
            f"No split by group was found with class {quoted(classes[one_sided])} in both "
            "train and test; exclude it (--drop), or try another --seed."
        )
    return test[group_of]


def check_classes(labels: Sequence[str], splits: Sequence[str]) -> None:
    """Raise `DataError` unless train and test have the same classes, and val has no others.

    Patches without a label may be in any split.

    >>> check_classes(["a", "b", "a", "b"], ["train", "train", "test", "test"])
    """
    known = set(tissue_classes(labels))
    named = [label for label in labels if label in known]
    classes = {
        split: known & {label for label, side in zip(labels, splits, strict=True) if side == split}
        for split in ("train", "val", "test")
    }
    stray = [
        f"{quoted(sorted(classes[here] - classes[there]))} in {here} but not in {there}"
        for here, there in (("train", "test"), ("test", "train"), ("val", "train"))
        if classes[here] - classes[there]
    ]
    if stray:
        label = "label some patches there, " * (len(named) < len(labels))
        raise DataError(
            f"Splits differ in their classes: {'; '.join(stray)}; {label}exclude these classes "
            f"(--drop), or draw a new split with --split random.{measured_hint(named)}"
        )


def measured_hint(labels: Sequence[str]) -> str:
    """Advice for labels that rarely repeat, such as measured numbers; else an empty text."""
    if 2 * len(set(labels)) <= len(labels):
        return ""
    return f" {MEASURED_ADVICE}"


def _share_of(count: int, share: float) -> int:
    return min(max(round(share * count), 1), count - 1)


def _draw_groups(
    counts: npt.NDArray[np.float64], order: npt.NDArray[np.int64], share: float
) -> Mask:
    selected = np.zeros(len(counts), dtype=bool)
    in_test = np.zeros(counts.shape[1])
    cost = _cost(in_test, counts, share)
    for group in order:
        with_group = in_test + counts[group]
        if (lower := _cost(with_group, counts, share)) < cost:
            selected[group], in_test, cost = True, with_group, lower
    return selected


def _cost(in_test: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], share: float) -> float:
    """Squared error of the classes' shares in test; a class in only one split costs most."""
    total = counts.sum(axis=0)
    one_sided = (in_test == 0) | (in_test == total)
    return float(np.square(in_test / total - share).sum() + len(total) * one_sided.sum())
