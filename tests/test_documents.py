"""Whatever is wrong in a document is one error of one line."""

from pathlib import Path

import pytest

from morefromless.documents import parse_yaml, read_json, read_parquet


@pytest.mark.parametrize(
    "content", [b"!!bool x", b"a: 2026-13-45", b"[" * 5000, b"\xff", b"{", b"!!int ''"]
)
def test_whatever_yaml_provokes_is_one_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="no sound YAML"):
        parse_yaml(content)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": "\xff"}', b"[" * 100_000])
def test_whatever_is_wrong_in_json_is_one_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r".+"):
        read_json(tmp_path / "a.json", dict)


def test_whatever_is_wrong_in_parquet_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 \x00 PAR1")
    with pytest.raises((ValueError, OSError), match=r".+"):
        read_parquet(tmp_path / "a.parquet")
