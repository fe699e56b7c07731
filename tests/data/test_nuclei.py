"""Nuclei in the store: encoded without loss, and counted once when a tile is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from morefromless.data.nuclei import MAX_NUCLEI, Nuclei, assign_border_nuclei, nuclei_table
from morefromless.data.schemes import CONSEP, PANNUKE
from morefromless.errors import UnreadablePatch

MAPS = hnp.arrays(
    np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 9)
)


def typed_nuclei(instances: np.ndarray, scheme=PANNUKE) -> Nuclei:
    ids = [int(k) for k in np.unique(instances) if k]
    return Nuclei.typed(instances, {k: k % len(scheme.types) for k in ids}, scheme)


@given(MAPS)
def test_encoding_is_lossless(instances: np.ndarray) -> None:
    nuclei = typed_nuclei(instances)
    decoded = Nuclei.decode(nuclei.encode())
    np.testing.assert_array_equal(decoded.instances, nuclei.instances)
    np.testing.assert_array_equal(decoded.types, nuclei.types)
    np.testing.assert_array_equal(decoded.areas, nuclei.areas)
    assert decoded.counted.all()


def test_nuclei_are_numbered_in_the_order_of_their_file() -> None:
    instances = np.array([[7, 7, 0], [0, 3, 3]])
    nuclei = Nuclei.typed(instances, {7: "Dead", 3: 1}, PANNUKE)
    assert nuclei.instances.tolist() == [[1, 1, 0], [0, 2, 2]]
    assert nuclei.types.tolist() == [4, 1]


def test_maximum_number_of_nuclei_is_encoded() -> None:
    instances = np.zeros((182, 182), np.int32)
    instances.flat[:MAX_NUCLEI] = np.arange(1, MAX_NUCLEI + 1)
    nuclei = Nuclei.typed(instances, dict.fromkeys(range(1, MAX_NUCLEI + 1), 5), PANNUKE)
    np.testing.assert_array_equal(Nuclei.decode(nuclei.encode()).instances, nuclei.instances)
    instances.flat[MAX_NUCLEI] = MAX_NUCLEI + 1
    with pytest.raises(UnreadablePatch, match="too many nuclei: 32,768"):
        Nuclei.typed(instances, dict.fromkeys(range(1, MAX_NUCLEI + 2), 5), PANNUKE)


@pytest.mark.parametrize(
    ("raw_types", "reason"),
    [
        ({1: 1}, "instance without a type: 2;"),
        ({1: 1, 2: None}, "instance without a type: 2;"),
        ({1: 1, 2: 2, 3: 1}, "type without an instance: 3;"),
        ({1: 1, 2: 5}, "type outside the scheme: '5' is not in consep"),
        ({1: 1, 2: "Neutrophil"}, "type outside the scheme: 'Neutrophil' is not in consep"),
    ],
)
def test_invalid_types_are_refused_in_one_sentence(raw_types: dict, reason: str) -> None:
    with pytest.raises(UnreadablePatch, match=reason):
        Nuclei.typed(np.array([[1, 2]]), raw_types, CONSEP)
    with pytest.raises(UnreadablePatch, match="negative instance: id -1"):
        Nuclei.typed(np.array([[-1, 2]]), {2: 1}, CONSEP)


@given(MAPS, st.integers(2, 5))
def test_nucleus_is_counted_in_the_patch_with_most_of_it(instances: np.ndarray, side: int) -> None:
    tile = assign_border_nuclei(typed_nuclei(instances).encode(), side)
    rows, columns = (extent // side for extent in instances.shape)
    counted: dict[int, list[int]] = {}
    drawn_pixels = 0
    for index in range(rows * columns):
        y, x = side * (index // columns), side * (index % columns)
        patch = Nuclei.decode(tile[y : y + side, x : x + side])
        original = instances[y : y + side, x : x + side]
        drawn_pixels += int((patch.instances > 0).sum())
        for number, is_counted in enumerate(patch.counted, 1):
            (nucleus,) = np.unique(original[patch.instances == number])
            if is_counted:
                counted.setdefault(int(nucleus), []).append(index)
    covered = instances[: rows * side, : columns * side]
    assert drawn_pixels == (covered > 0).sum()  # every piece is drawn
    assert set(counted) == set(np.unique(covered[covered > 0]).tolist())
    for nucleus, indices in counted.items():
        ys, xs = np.nonzero(covered == nucleus)
        pixels_per_patch = np.bincount(ys // side * columns + xs // side, minlength=rows * columns)
        assert indices == [int(pixels_per_patch.argmax())]


def test_the_table_has_a_row_for_each_nucleus_of_a_patch() -> None:
    tile = np.array([[1, 1, 1, 0], [0, 2, 0, 0]], np.int32)
    marked = assign_border_nuclei(typed_nuclei(tile).encode(), 2)
    table = nuclei_table(np.stack([marked[:, :2], np.zeros((2, 2, 3), np.uint8), marked[:, 2:]]))
    assert table.columns.tolist() == ["patch", "type", "area", "counted"]
    assert table.to_numpy().tolist() == [[0, 1, 2, True], [0, 2, 1, True], [2, 1, 1, False]]
    assert len(nuclei_table(np.empty((0, 2, 2, 3), np.uint8))) == 0
