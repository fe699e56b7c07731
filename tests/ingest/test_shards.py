"""Shards: their items, writing and reading, and which plan may be resumed."""

from pathlib import Path

import pytest

from morefromless import files
from morefromless.config import IngestConfig
from morefromless.errors import DataError
from morefromless.files import StorageError
from morefromless.ingest.decoding import Record
from morefromless.ingest.shapes import ImageShape, Shape
from morefromless.ingest.shards import MAX_ITEMS, Plan, Shards

SHAPE = Shape({"he": ImageShape(8)}, {"he": 8}, {"file": 3}, ("file",))
CONFIG = IngestConfig(source="counting", store=Path("store"))
PLAN = Plan("listing", 5, None, None, "drop", SHAPE, 2)


def record(number: int) -> Record:
    return Record(f"{number}", 8, absent=("file",), omitted={"region": number})


REJECTED = Record(reason="grey image: convert")


def test_shards_are_written_in_any_order_and_read_in_order(tmp_path: Path) -> None:
    shards = Shards(tmp_path, PLAN)
    assert [list(shards.items(number)) for number in shards.numbers] == [[0, 1], [2, 3], [4]]
    shards.write(2, [record(4)])
    shards.write(0, [REJECTED, record(1)])
    assert shards.missing() == [1]
    shards.write(1, [REJECTED, REJECTED])
    assert shards.missing() == []
    reopened = Shards(tmp_path, PLAN)  # after a kill
    for reader in (shards, reopened):
        assert reader.records() == [REJECTED, record(1), REJECTED, REJECTED, record(4)]
    shards.write(1, [REJECTED])
    with pytest.raises(StorageError, match=r"000001.json is damaged; remove this file"):
        reopened.records()


@pytest.mark.parametrize(("side", "items"), [(8, MAX_ITEMS), (1000, 20), (2000, 5), (10_000, 1)])
def test_shard_size_is_limited_by_items_and_bytes(side: int, items: int) -> None:
    assert Plan.of("listing", 5, CONFIG, Shape({"he": ImageShape(side)}, None)).shard == items


def test_plan_is_loaded_as_saved(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    files.write_json(path, PLAN)
    assert Plan.load(path) == PLAN
    for content in ("[]", "{", '{"shape": {}}'):
        path.write_text(content)
        with pytest.raises(DataError, match=rf"plan.json is damaged; remove {tmp_path}"):
            Plan.load(path)
    with pytest.raises(DataError, match="the source listed other patches"):
        PLAN.check(tmp_path, "another", 5, CONFIG)
