"""MATLAB files of HoVer-Net, CoNSeP and Lizard."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from morefromless.data.nuclei import Nuclei
from morefromless.data.schemes import CONSEP
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import TypedInstances
from morefromless.nuclei_formats.mat import Mat

MAP = np.array([[0, 5, 5], [2, 2, 0]], np.int32)
TYPE_MAP = np.array([[0, 3, 3], [1, 1, 0]], np.int32)


def read(tmp_path: Path, shape: tuple[int, int] = (2, 3), **content: Any) -> TypedInstances:
    savemat(tmp_path / "a.mat", content, do_compression=True)
    assert Mat.recognises(tmp_path / "a.mat")
    return Mat().read(tmp_path / "a.mat", shape)


def typed_nuclei(result: TypedInstances) -> Nuclei:
    return Nuclei.typed(result.instances, result.types, CONSEP)


def error_message(tmp_path: Path, shape: tuple[int, int] = (2, 3), **content: Any) -> str:
    """The reason, from the file or from the scheme."""
    with pytest.raises(UnreadablePatch) as error:
        typed_nuclei(read(tmp_path, shape, **content))
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "types"),
    [
        ({"inst_type": [[1], [3]]}, {2: 1, 5: 3}),
        ({"inst_type": [[1.0], [3.0]], "type_map": TYPE_MAP}, {2: 1, 5: 3}),  # CoNSeP
        ({"type_map": TYPE_MAP.astype(float)}, {2: 1, 5: 3}),
        ({"inst_uid": [5, 2], "inst_type": [3, 1]}, {5: 3, 2: 1}),  # HoVer-Net
        ({"id": [[5], [2]], "class": [[3], [1]], "bbox": np.ones((2, 4))}, {5: 3, 2: 1}),  # Lizard
        ({"inst_type": [[0], [3]]}, {2: 0, 5: 3}),  # a nucleus without a type
    ],
)
@pytest.mark.parametrize("kind", [np.int32, np.uint16, np.float64])
def test_each_layout_is_read(tmp_path: Path, kind: type, content: dict, types: dict) -> None:
    result = read(tmp_path, inst_map=MAP.astype(kind), **content)
    np.testing.assert_array_equal(result.instances, MAP)
    assert list(result.types.items()) == list(types.items())
    assert typed_nuclei(result).types.tolist() == list(types.values())


def test_image_without_nuclei_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, inst_map=0 * MAP, inst_type=[]).types == {}
    assert read(tmp_path, inst_map=0 * MAP, type_map=0 * MAP, inst_type=[]).types == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"inst_type": [[1]]}, "instance without a type: 5;"),
        ({"inst_type": [[1], [3], [4]]}, "type without an instance: 6;"),
        ({"inst_type": [[1], [3]], "inst_uid": [[2], [7]]}, "instance without a type: 5;"),
        ({"inst_type": [[1], [3], [1]], "id": [[2], [5], [8]]}, "type without an instance: 8;"),
        ({"inst_type": [[1], [3], [1]], "id": [[2], [5]]}, "type without an instance: 6;"),
        ({"inst_type": [[1], [3]], "id": [[2], [2]]}, "several types: id 2 is listed 2 times;"),
        ({"inst_type": [[1], [7]]}, "type outside the scheme: '7' is not in consep"),
        (
            {"inst_type": [[1], [4]], "type_map": TYPE_MAP},
            "types disagree: nucleus 5 has type 4 in the",
        ),
        ({"inst_type": [[1], [1.5]]}, "float mask: inst_type holds fractions;"),
        ({"inst_type": "text"}, "instance without a type: 2, 5;"),
        (
            {"inst_type": [[1], [3]], "type_map": TYPE_MAP[:1]},
            "another size: mask 3 x 1, image 3 x",
        ),
        ({"type_map": 0 * TYPE_MAP}, "instance without a type: 2, 5;"),
        ({"type_map": TYPE_MAP + (MAP == 0)}, "type without an instance: 2 px"),
        ({"type_map": [[0, 3, 1], [1, 1, 0]]}, "instance of several types: id 5 has"),
        ({}, "instance without a type: 2, 5;"),
        ({"inst_map": MAP + 0.5, "inst_type": []}, "float mask: inst_map holds fractions;"),
        ({"inst_map": -MAP, "inst_type": [1, 2]}, "negative instance: id -5;"),
        ({"inst_map": np.ones((2, 3, 3)), "inst_type": []}, "colour mask: inst_map has 3 "),
        (
            {"inst_map": "text", "inst_type": []},
            "no instance map: a.mat has no numeric array inst_map",
        ),
    ],
)
def test_unusable_content_is_refused_in_one_sentence(
    tmp_path: Path, content: dict, reason: str
) -> None:
    message = error_message(tmp_path, **{"inst_map": MAP, **content})
    assert message.startswith(reason)
    assert "; " in message


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    assert error_message(tmp_path, (256, 250), inst_map=np.zeros((400, 500)), inst_type=[]) == (
        "another size: mask 500 x 400, image 250 x 256; give the mask of this image"
    )


def test_variable_larger_than_the_image_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    oversized = {"inst_map": np.zeros((1500, 1500)), "inst_type": [1]}
    savemat(path, oversized, do_compression=True)
    with pytest.raises(UnreadablePatch, match=r"too large: a variable of a.mat has 18,?000,?0"):
        Mat().read(path, (2, 3))
    savemat(path, {"other": np.zeros((1500, 1500)), "inst_map": MAP}, do_compression=True)
    assert Mat().read(path, (2, 3)).types == {
        2: None,
        5: None,
    }  # not decompressed, because it is not needed


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    assert Mat.recognises(path)
    with pytest.raises(UnreadablePatch, match=r"no segmentation: there is no a.mat; "):
        Mat().read(path, (2, 3))
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UnreadablePatch, match=r"MATLAB v7.3: a.mat is an HDF5 .*; save .* -v7$"):
        Mat().read(path, (2, 3))
    savemat(path, {"inst_map": MAP, "inst_type": [1, 3]})
    content = path.read_bytes()
    for damaged in (b"garbage", content[:100], content[:-9]):
        path.write_bytes(damaged)
        with pytest.raises(UnreadablePatch, match=r"unreadable: a.mat is not a valid MATLAB file"):
            Mat().read(path, (2, 3))
