"""Splits: whole groups, every class in train and test, shares as requested."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morefromless.data.labels import UNLABELLED
from morefromless.data.splits import by_group, by_label, check_classes
from morefromless.errors import DataError


@given(
    counts=st.lists(st.integers(2, 40), min_size=1, max_size=5),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_by_label_keeps_the_share_of_each_class(counts: list[int], share: float, seed: int) -> None:
    labels = [f"class {i}" for i, count in enumerate(counts) for _ in range(count)]
    test = by_label(labels, share, seed)
    for i, count in enumerate(counts):
        test_count = int(test[[label == f"class {i}" for label in labels]].sum())
        assert 1 <= test_count < count
        assert test_count == min(max(round(share * count), 1), count - 1)


@settings(max_examples=50)
@given(
    patches=st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 9)), min_size=40),
    seed=st.integers(0, 99),
)
def test_by_group_keeps_groups_whole(patches: list[tuple[str, int]], seed: int) -> None:
    labels = [label for label, _ in patches]
    groups = [f"P{group}" for _, group in patches]
    groups_of = {
        label: {g for patch_label, g in zip(labels, groups, strict=True) if patch_label == label}
        for label in labels
    }
    try:
        test = by_group(labels, groups, 0.3, seed)
    except DataError:
        # With more than a few groups per class, a split always exists.
        assert min(map(len, groups_of.values())) < 4
        return
    sides: dict[str, set[bool]] = {}
    for group, side in zip(groups, test, strict=True):
        sides.setdefault(group, set()).add(bool(side))
    assert all(len(splits) == 1 for splits in sides.values())
    for label in groups_of:
        assert {
            bool(t) for t, patch_label in zip(test, labels, strict=True) if patch_label == label
        } == {0, 1}


def test_measured_values_are_not_classes() -> None:
    values = [f"{i / 7}" for i in range(99)]
    with pytest.raises(DataError, match=r"and 89 others, .* bin measured values into classes"):
        by_group(values, [f"P{i % 9}" for i in range(99)], 0.2, 0)
    with pytest.raises(DataError, match=r"in test but .* bin measured values into classes"):
        check_classes(values, [["train", "test"][i % 2] for i in range(99)])
    with pytest.raises(DataError, match=r"random\.$"):
        check_classes(["a", "a", "a", "b"], ["train", "train", "test", "test"])


def test_by_group_approximates_the_share() -> None:
    rng = np.random.default_rng(0)
    groups = [f"P{i}" for i in rng.integers(0, 30, 3000)]
    labels = ["ABC"[i] for i in rng.integers(0, 3, 3000)]
    test = by_group(labels, groups, 0.2, 0)
    test_counts, counts = Counter(np.array(labels)[test]), Counter(labels)
    assert all(abs(test_counts[c] / counts[c] - 0.2) < 0.02 for c in "ABC")


def test_split_depends_only_on_the_seed() -> None:
    labels = ["A", "B"] * 50
    groups = [f"P{i % 20}" for i in range(100)]
    assert (by_label(labels, 0.2, 1) == by_label(labels, 0.2, 1)).all()
    assert (by_label(labels, 0.2, 1) != by_label(labels, 0.2, 2)).any()
    draws = {by_group(labels, groups, 0.2, seed).tobytes() for seed in range(5)}
    assert len(draws) > 1
    assert by_group(labels, groups, 0.2, 3).tobytes() in {
        by_group(labels, groups, 0.2, 3).tobytes()
    }


def test_a_class_of_one_group_cannot_be_split() -> None:
    with pytest.raises(DataError, match=r"Only one group .* has class 'B', so it"):
        by_group(["A", "A", "B", "B"], ["P1", "P2", "P1", "P1"], 0.5, 0)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_every_class_in_both_splits_has_priority_over_the_share(share: float) -> None:
    halves = by_group(["A"] * 20, ["P1"] * 10 + ["P2"] * 10, share, 0)
    assert halves.sum() == 10
    # Three classes, and each pair of them shares a patient: two patients must be on the same side.
    with pytest.raises(DataError, match=r"No split by group was found with class '[ABC]' in both"):
        by_group(list("ABBCCA"), ["P1", "P1", "P2", "P2", "P3", "P3"], share, 0)


def test_classes_missing_from_a_split_are_named() -> None:
    check_classes(["A", "B", "A", "B", "A"], ["train", "train", "test", "test", "val"])
    with pytest.raises(DataError, match=r"'C' in test but not in train.*--split random"):
        check_classes(["A", "B", "A", "B", "C"], ["train", "train", "test", "test", "test"])
    with pytest.raises(DataError, match="'B' in train but not in test"):
        check_classes(["A", "B", "A"], ["train", "train", "test"])
    with pytest.raises(DataError, match="'C' in val but not in train"):
        check_classes(["A", "A", "C"], ["train", "test", "val"])


def test_unlabelled_patches_have_no_class() -> None:
    labels = ["A", UNLABELLED, "B", "A", "B", UNLABELLED] * 10
    labelled = [label for label in labels if label != UNLABELLED]
    test = by_label(labels, 0.25, 3)
    assert not test[np.array(labels) == UNLABELLED].any()
    # Labelled patches are drawn as if there were no others.
    assert (test[np.array(labels) != UNLABELLED] == by_label(labelled, 0.25, 3)).all()
    assert by_label([UNLABELLED] * 10, 0.2, 0).sum() == 2
    groups = [f"P{i // 6}" for i in range(60)]
    partly_labelled = [UNLABELLED if i < 12 else label for i, label in enumerate(labels)]
    test_groups = {*np.array(groups)[by_group(partly_labelled, groups, 0.4, 0)]}
    assert test_groups
    assert not test_groups & {"P0", "P1"}  # their patches have no labels to test
    with_unlabelled_group = [*[UNLABELLED] * 4, "A", "B", "A", "B"]
    test = by_group(with_unlabelled_group, ["P1"] * 4 + ["P2", "P2", "P3", "P3"], 0.5, 0)
    assert test.tolist() in ([False] * 4 + [True] * 2 + [False] * 2, [False] * 6 + [True] * 2)
    check_classes(["A", UNLABELLED, "A"], ["train", "train", "test"])
    check_classes(["A", UNLABELLED, "A"], ["train", "val", "test"])
    with pytest.raises(
        DataError, match=r"'A' in train but not in test; label some patches there, exclude"
    ):
        check_classes(["A", UNLABELLED], ["train", "test"])
