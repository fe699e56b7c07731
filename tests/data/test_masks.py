"""Masks: exact integers, of the image's size, with one type per instance."""

import numpy as np
import pytest

from morefromless.data.masks import check_mask, check_size, majority_types, to_int32
from morefromless.data.pannuke_masks import merge_channels
from morefromless.errors import UnreadablePatch


@pytest.mark.parametrize("kind", ["u1", ">u2", "i4", "u8", "f4", "f8"])
def test_integer_masks_are_converted_exactly(kind: str) -> None:
    mask = to_int32(np.asfortranarray([[0, 7], [200, 1]]).astype(kind), "it")
    assert mask.tolist() == [[0, 7], [200, 1]]
    assert (mask.dtype, mask.flags.c_contiguous) == (np.int32, True)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0, 0.5]]), "float mask: it holds fractions; "),
        (np.array([[0, np.nan]]), "float mask: it holds fractions; "),
        (np.array([[0, np.inf]]), "not a mask: it holds numbers beyond 32 bits; "),
        (np.array([[0, 2**31]]), "not a mask: it holds numbers beyond 32 bits; "),
        (np.array([[True]]), "not a mask: it holds bool; "),
        (np.array([["1"]]), "not a mask: it holds <U1; "),
        ([[1]], "not a mask: it holds list; "),
    ],
)
def test_invalid_values_are_refused(values: np.ndarray, reason: str) -> None:
    with pytest.raises(UnreadablePatch, match=reason):
        to_int32(values, "it")


def test_invalid_shapes_are_refused() -> None:
    with pytest.raises(UnreadablePatch, match="colour mask: it has 3 channels; "):
        check_mask(np.zeros((4, 4, 3)), (4, 4), "it")
    with pytest.raises(UnreadablePatch, match="not a mask: it is 4 x 4 x 1; "):
        check_mask(np.zeros((4, 4, 1)), (4, 4), "it")
    with pytest.raises(
        UnreadablePatch, match="another size: mask 500 x 400, image 256 x 250; give"
    ):
        check_size((400, 500), (250, 256, 3))


def test_the_majority_of_an_instance_is_its_type() -> None:
    instances = np.array([[9, 9, 9, 4, 4, 4, 0, 2]], np.int32)
    types = np.array([[5, 5, 1, 0, 0, 3, 0, 8]], np.int32)
    assert majority_types(instances, types) == {2: 8, 4: None, 9: 5}
    assert majority_types(np.zeros((2, 2), np.int32), np.zeros((2, 2), np.int32)) == {}
    with pytest.raises(UnreadablePatch, match="instance of several types: id 9 has no type on"):
        majority_types(np.array([[4, 9, 9]], np.int32), np.array([[1, 5, 3]], np.int32))
    with pytest.raises(UnreadablePatch, match="type without an instance: 1 px have a type but"):
        majority_types(np.array([[1, 0]], np.int32), np.array([[1, 5]], np.int32))


def test_pannuke_nucleus_is_identified_by_channel_and_id() -> None:
    mask = np.zeros((1, 8, 6))
    mask[0, :3, 4] = 7
    mask[0, 5:, 1] = 7
    mask[0, 3, 0] = 2**31 - 1
    mask[0, 4, 5] = 1  # background
    instances, types = merge_channels(mask, "it")
    assert instances.tolist() == [[3, 3, 3, 1, 0, 2, 2, 2]]
    assert types == {1: "Neoplastic", 2: "Inflammatory", 3: "Non-Neoplastic Epithelial"}
    mask[0, 2, 0] = 3  # takes one of the three pixels of a later channel
    assert merge_channels(mask, "it")[0].tolist() == [[4, 4, 1, 2, 0, 3, 3, 3]]
    mask[0, 1, 0] = 3
    with pytest.raises(
        UnreadablePatch, match="overlapping nuclei: id 7 of Non-Neoplastic Epithelial keeps 1 of 3"
    ):
        merge_channels(mask, "it")
    assert merge_channels(np.zeros((2, 2, 6)), "it")[1] == {}
    with pytest.raises(UnreadablePatch, match="negative instance: it holds -1; "):
        merge_channels(np.full((2, 2, 6), -1), "it")
    with pytest.raises(UnreadablePatch, match="float mask: it holds fractions; "):
        merge_channels(np.full((2, 2, 6), 0.5), "it")


def test_majority_of_many_types_allocates_no_full_table() -> None:
    ids = np.arange(1, 2**16 + 1, dtype=np.int32).reshape(256, 256)
    assert majority_types(ids, ids) == {k: k for k in range(1, 2**16 + 1)}
