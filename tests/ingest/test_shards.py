"""Shards: which items each has, what is written and read, and which plan may go on."""

from pathlib import Path

import numpy as np
import pytest

from morefromless.config import IngestConfig
from morefromless.errors import DataError
from morefromless.ingest.decoding import Decoded, ImageShape, Record, Shape
from morefromless.ingest.shards import BYTES, ITEMS, Plan, Shards
from tests.ingest.samples import patch

SHAPE = Shape({"he": ImageShape(8)}, {"he": 8}, {"file": 3}, ("file",))
CONFIG = IngestConfig(source="counting", store=Path("store"))
PLAN = Plan("listing", 5, None, None, "drop", SHAPE, 2)


def decoded(number: int) -> Decoded:
    arrays = {"he": patch(number, 8), "file": np.full(3, number, np.float32)}
    return Decoded(Record(f"{number}", 8, absent=("file",), omitted={"region": number}), arrays)


REJECTED = Decoded(Record(reason="grey image: convert"), {})


def test_written_in_any_order_and_read_in_the_listings(tmp_path: Path) -> None:
    shards = Shards(tmp_path, PLAN)
    assert [list(shards.items(number)) for number in shards.numbers] == [[0, 1], [2, 3], [4]]
    shards.write(2, [decoded(4)])
    shards.write(0, [REJECTED, decoded(1)])
    assert shards.missing() == [1]
    shards.write(1, [REJECTED, REJECTED])  # a shard without pixels
    assert shards.missing() == []
    reasons = [record.reason is not None for record in shards.records()]
    assert reasons == [True, False, True, True, False]
    assert shards.records()[4].omitted == {"region": 4}
    indices, arrays = zip(*shards.arrays(), strict=True)
    assert indices == ([1], [], [4])
    for number, content in zip((1, 4), (arrays[0], arrays[2]), strict=True):
        np.testing.assert_array_equal(content["he"], patch(number, 8)[None])
        np.testing.assert_array_equal(content["file"], np.full((1, 3), number, np.float32))
    assert arrays[1]["he"].shape == (0, 8, 8, 3)


@pytest.mark.parametrize(("side", "items"), [(8, ITEMS), (1000, BYTES // 3_000_000), (10_000, 1)])
def test_a_shard_fits_in_memory(side: int, items: int) -> None:
    assert Plan.of("listing", 5, CONFIG, Shape({"he": ImageShape(side)}, None)).shard == items


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    PLAN.save(path)
    assert Plan.load(path) == PLAN
    for content in ("[]", "{", '{"shape": {}}'):
        path.write_text(content)
        with pytest.raises(DataError, match=rf"plan.json is damaged; remove {tmp_path}"):
            Plan.load(path)
    with pytest.raises(DataError, match="the source listed other patches"):
        PLAN.check(tmp_path, "another", 5, CONFIG)
