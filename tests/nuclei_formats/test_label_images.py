"""Label images of instances, with label images or tables of types."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morefromless.data.nuclei import Nuclei
from morefromless.data.schemes import CONSEP, UNTYPED
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import TypedInstances
from morefromless.nuclei_formats.label_images import LabelImages

MAP = np.array([[0, 300, 300], [2, 2, 0]])
DRAWN = np.array([[0, 3, 3], [1, 1, 0]])


def put(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, content)
    elif isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        Image.fromarray(content).save(path)
    return path


def read(
    root: Path, instances: tuple[str, Any], types: tuple[str, Any], shape: tuple[int, int] = (2, 3)
) -> TypedInstances:
    put(root / "types" / "Train" / f"a{types[0]}", types[1])
    path = put(root / "instances" / "Train" / f"a{instances[0]}", instances[1])
    return LabelImages().read(path, shape)


def typed(result: TypedInstances) -> Nuclei:
    return Nuclei.typed(result.instances, result.types, CONSEP)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (".png", np.uint16),
        (".tif", np.uint16),
        (".tiff", np.int32),
        (".tif", np.float32),
        (".npy", np.uint8),
        (".npy", np.int64),
        (".npy", np.float64),
    ],
)
def test_instances_are_read_exactly(tmp_path: Path, ending: str, kind: type) -> None:
    instances = (MAP % 256 if kind is np.uint8 else MAP + 65000 * (MAP == 300)).astype(kind)
    result = read(tmp_path, (ending, instances), (".png", DRAWN.astype(np.uint8)))
    np.testing.assert_array_equal(result.instances, instances)
    assert result.instances.dtype == np.int32
    assert typed(result).types.tolist() == [1, 3]


def test_a_palette_is_its_numbers(tmp_path: Path) -> None:
    image = Image.fromarray(DRAWN.astype(np.uint8), "L").convert("P")
    image.putdata(DRAWN.ravel().tolist())
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    put(tmp_path / "instances" / "a.npy", MAP)
    (tmp_path / "types").mkdir()
    image.save(tmp_path / "types" / "a.png")
    result = LabelImages().read(tmp_path / "instances" / "a.npy", (2, 3))
    assert result.types == {2: 1, 300: 3}


@pytest.mark.parametrize(
    ("ending", "table", "types"),
    [
        (".csv", "instance,type\n300,Spindle\n2,1\n", {300: "Spindle", 2: "1"}),
        (".csv", "\ufefftype,x,instance\n1.0,,2\n4,,300.0\n", {2: "1", 300: "4"}),
        (".json", json.dumps({"300": "Spindle", "2": 1}), {300: "Spindle", 2: 1}),
        (
            ".json",
            json.dumps([{"instance": 2, "type": "1"}, {"instance": 300, "type": 4.0}]),
            {2: "1", 300: 4},
        ),
    ],
)
def test_tables_of_types(tmp_path: Path, ending: str, table: str, types: dict) -> None:
    result = read(tmp_path, (".npy", MAP), (ending, table))
    assert list(result.types.items()) == list(types.items())
    assert sorted(typed(result).types) == [1, 4]


@pytest.mark.parametrize(
    ("ending", "types", "reason"),
    [
        (".npy", DRAWN * (MAP != 2), "instance without a type: 2;"),
        (".csv", "instance,type\n2,1\n", "instance without a type: 300;"),
        (".csv", "instance,type\n2,1\n300,\n", "instance without a type: 300;"),
        (".json", '{"2": 1, "300": null}', "instance without a type: 300;"),
        (".csv", "instance,type\n2,1\n300,1\n4,1\n", "type without an instance: 4;"),
        (".csv", "instance,type\n2,1\n2,1\n", "several types: types/a.csv lists id 2 twice;"),
        (".csv", "id,type\n2,1\n", "unreadable: types/a.csv is not a table"),
        (".csv", "instance,type\n2\nx,1\n", "unreadable: types/a.csv is not a table"),
        (".csv", "instance,type\n2.5,1\n", "unreadable: types/a.csv is not a table"),
        (".json", '{"2": [1]}', "odd type: nucleus 2 has the type 'a list';"),
        (".json", '{"2": true}', "odd type: nucleus 2 has the type 'True';"),
        (".json", '{"2": 1e999}', "odd type: nucleus 2 has the type 'inf';"),
        (".json", "[" * 100_000, "unreadable: types/a.json is not a table"),
        (".json", "3", "unreadable: types/a.json is not a table"),
        (".csv", "instance,type\n2,1\n300,Tumour\n", "type outside the scheme: 'Tumour' is not"),
        (".npy", DRAWN + 4 * (MAP > 0), "type outside the scheme: '5' is not in consep"),
        (".npy", DRAWN + (MAP == 0), "type without an instance: 2 px have a type but no id;"),
        (".npy", np.array([[0, 3, 1], [1, 1, 0]]), "instance of several types: id 300 has no type"),
        (".npy", DRAWN[:, :2], "another size: mask 2 x 2, image 3 x 2;"),
        (".npy", DRAWN / 2, "float mask: types/a.npy holds fractions;"),
    ],
)
def test_types_that_do_not_fit_are_refused(
    tmp_path: Path, ending: str, types: Any, reason: str
) -> None:
    with pytest.raises(UnreadablePatch) as caught:
        typed(read(tmp_path, (".npy", MAP), (ending, types)))
    message = str(caught.value).replace("Train/a", "types/a")  # the folder of the file
    assert message.startswith(reason)
    assert "; " in message


@pytest.mark.parametrize(
    ("ending", "instances", "reason"),
    [
        (".png", np.zeros((4, 5), np.uint8), "another size: mask 5 x 4, image 3 x 2;"),
        (".npy", np.zeros((4, 5), np.uint8), "another size: mask 5 x 4, image 3 x 2;"),
        (".npy", MAP / 7, "float mask: Train/a.npy holds fractions;"),
        (".tif", (MAP / 7).astype(np.float32), "float mask: Train/a.tif holds fractions;"),
        (".png", np.zeros((2, 3, 3), np.uint8), "colour mask: Train/a.png has mode RGB;"),
        (".npy", np.zeros((2, 3, 3), np.uint8), "colour mask: Train/a.npy has 3 channels;"),
        (".npy", np.zeros((2, 3, 2), np.uint8), "not a mask: Train/a.npy is 2 x 3 x 2;"),
        (".png", MAP > 0, "not a mask: Train/a.png has mode 1;"),
        (".npy", MAP > 0, "not a mask: Train/a.npy holds bool;"),
        (".npy", np.array([[None]]), "unreadable: "),
        (".png", "garbage", "unreadable: not a png, jpg, tif, bmp or webp image"),
    ],
)
def test_instances_that_cannot_be_used_are_refused(
    tmp_path: Path, ending: str, instances: Any, reason: str
) -> None:
    with pytest.raises(UnreadablePatch) as caught:
        read(tmp_path, (ending, instances), (".npy", DRAWN))
    assert str(caught.value).startswith(reason)


def test_masks_that_are_lossy_or_of_several_pages_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "types" / "a.npy", DRAWN)
    path = put(tmp_path / "instances" / "a.tif", MAP.astype(np.uint16))
    pages = [Image.fromarray(MAP.astype(np.uint16)) for _ in range(2)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(UnreadablePatch, match=r"several pages: instances/a.tif has more than one"):
        LabelImages().read(path, (2, 3))
    Image.fromarray(DRAWN.astype(np.uint8)).save(path, format="JPEG")
    with pytest.raises(UnreadablePatch, match=r"lossy mask: instances/a.tif is a JPEG"):
        LabelImages().read(path, (2, 3))


def test_files_that_are_missing_or_too_many(tmp_path: Path) -> None:
    path = tmp_path / "instances" / "a.npy"
    with pytest.raises(UnreadablePatch, match=r"no segmentation: there is no a.npy; "):
        LabelImages().read(path, (2, 3))
    put(path, MAP)
    (tmp_path / "types").mkdir()
    with pytest.raises(UnreadablePatch, match=r"no types: types/a is missing for a.npy; add it"):
        LabelImages().read(path, (2, 3))
    put(tmp_path / "types" / "a.npy", DRAWN)
    put(tmp_path / "types" / "a.csv", "instance,type\n")
    with pytest.raises(UnreadablePatch, match=r"several types: both types/a.csv and types/a"):
        LabelImages().read(path, (2, 3))


def test_label_images_without_types_are_untyped_nuclei(tmp_path: Path) -> None:
    for path in (tmp_path / "instances" / "a.npy", tmp_path / "b_cp_masks.png"):
        result = LabelImages().read(put(path, MAP.astype(np.uint16)), (2, 3))
        assert result.types == {2: None, 300: None}
        assert Nuclei.typed(result.instances, result.types, UNTYPED).types.tolist() == [1, 1]
        with pytest.raises(UnreadablePatch, match=r"instance without a type: 2, 300; .* untyped"):
            typed(result)


def test_one_id_in_several_pieces_is_parted_if_asked(tmp_path: Path) -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[:3, :3] = mask[6:9, 6:9] = mask[6:9, 0:3] = mask[9, 9] = 255  # the last touches a corner
    path = put(tmp_path / "a.png", mask)
    with pytest.raises(UnreadablePatch, match=r"id 255 has 3 pieces; give label-images:pieces="):
        LabelImages().read(path, (12, 12))
    assert LabelImages("one").read(path, (12, 12)).types == {255: None}
    each = LabelImages("each").read(path, (12, 12))
    assert [(each.instances == k).sum() for k in each.types] == [9, 9, 10]
    many = np.kron(np.eye(12, dtype=np.uint8)[::-1] * 255, np.diag([1, 0]).astype(np.uint8))
    with pytest.raises(
        UnreadablePatch, match="has 12 pieces"
    ):  # each is less than a tenth of the image
        LabelImages().read(put(path, many), (24, 24))
    many[:] = 0
    many[12:] = many[:1, ::2] = 255  # one large piece, and 12 pieces below a tenth of it
    with pytest.raises(UnreadablePatch, match="has 13 pieces"):
        LabelImages().read(put(path, many), (24, 24))
    mask[0:4, 6:9], mask[0, 10] = 4, 4  # one of two ids has a piece and a stray pixel
    mask[6:] = 0
    assert LabelImages().read(put(path, mask), (12, 12)).types == {4: None, 255: None}
    table = put(tmp_path / "types" / "a.csv", "instance,type\n4,1\n255,3\n")
    moved = put(tmp_path / "instances" / "a.png", mask)
    assert table.is_file()
    assert LabelImages("each").read(moved, (12, 12)).types == {1: "1", 2: "1", 3: "3"}


def test_what_is_recognised(tmp_path: Path) -> None:
    assert LabelImages.recognises(tmp_path / "instances" / "Train" / "a.PNG")
    assert not LabelImages.recognises(tmp_path / "instances" / "a.csv")
    assert not LabelImages.recognises(tmp_path / "types" / "a.png")
    assert not LabelImages.recognises(tmp_path / "instances.png")
    assert not LabelImages.recognises(put(tmp_path / "rgb.png", np.zeros((2, 2, 3), np.uint8)))
    assert LabelImages.recognises(put(tmp_path / "grey.png", np.zeros((2, 2), np.uint8)))


@pytest.mark.parametrize("ending", [".tif", ".png"])
def test_a_stated_orientation_is_applied_to_masks_too(tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.array([[1, 0, 0, 2], [1, 0, 0, 2]], np.uint8)
    (tmp_path / "instances").mkdir()
    Image.fromarray(stored).save(tmp_path / f"instances/a{ending}", exif=exif)
    upright = LabelImages().read(tmp_path / f"instances/a{ending}", (4, 2)).instances
    assert upright.tolist() == [[1, 1], [0, 0], [0, 0], [2, 2]]
