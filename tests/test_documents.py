"""Any invalid document is one error of one line."""

import math
from pathlib import Path

import pytest

from morefromless.documents import (
    RepeatedKey,
    parse_foreign_json,
    parse_json,
    parse_yaml,
    read_json,
    read_parquet,
)
from morefromless.errors import DataError


@pytest.mark.parametrize(
    "content", [b"!!bool x", b"a: 2026-13-45", b"[" * 5000, b"\xff", b"{", b"!!int ''"]
)
def test_invalid_yaml_is_one_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="not valid YAML"):
        parse_yaml(content)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": "\xff"}', b"[" * 100_000])
def test_invalid_json_is_one_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r".+"):
        read_json(tmp_path / "a.json", dict)


def test_invalid_parquet_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 \x00 PAR1")
    with pytest.raises((ValueError, OSError), match=r".+"):
        read_parquet(tmp_path / "a.parquet")


@pytest.mark.parametrize("content", ['{"a": 1, "a": 2}', '{"a": NaN}', '"\\ud800"', "[" * 10**5])
def test_invalid_typed_json_is_one_error(content: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(content, dict)


def test_foreign_json_may_have_nan_and_repeated_keys() -> None:
    content = b'\xef\xbb\xbf{"metadata": 1, "metadata": NaN}'
    assert math.isnan(parse_foreign_json(content)["metadata"])
    with pytest.raises(RepeatedKey, match="it has 'metadata' twice"):
        parse_foreign_json(content, None)
    for damaged in (b"[" * 10**5, b"\xff", b"1" * 5000):
        with pytest.raises(ValueError, match=r".+"):
            parse_foreign_json(damaged)


def test_error_message_is_one_line() -> None:
    assert str(DataError("a\nb\x1b[31m\ud800")) == "a b?[31m?"
