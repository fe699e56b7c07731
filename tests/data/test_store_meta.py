"""`meta.json` is parsed into types, or rejected with an error of one sentence."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morefromless.data.store_meta import StoreMeta, parse_meta, read_meta
from morefromless.errors import DataError
from tests.data.meta import meta_document, store_meta

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def parse_or_none(document: Any) -> StoreMeta | None:
    try:
        return parse_meta(json.dumps(document).encode())
    except ValueError:
        return None


def test_document_is_parsed_into_types() -> None:
    meta = parse_or_none(meta_document(scheme={"name": "s", "types": ["none", "cell"]}))
    assert meta is not None
    assert meta.classes == ("TUM", "ADI")
    assert meta.arrays["he"].shape == (6, 4, 4, 3)
    assert meta.scheme is not None
    assert meta.scheme.types == ("none", "cell")
    assert meta.datasheet.title == "drawn"
    assert store_meta().um_per_px == 0.5


@given(DOCUMENTS)
def test_any_document_is_read_or_refused(document: Any) -> None:
    assert parse_or_none(document) is None


@given(st.sampled_from(sorted(meta_document())), DOCUMENTS)
def test_any_value_is_read_or_refused(key: str, value: Any) -> None:
    meta = parse_or_none(meta_document(**{key: value}))
    if meta is not None and key not in ("provenance",):
        assert isinstance(getattr(meta, key), tuple if key in ("classes", "caveats") else object)


@given(st.binary(max_size=64))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse_meta(content)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kept": 1}, "kept"),
        ({"datasheet": {"title": "a"}}, "datasheet"),
        ({"hash": 1}, "hash"),
        ({"classes": ["a", "a"]}, "class twice"),
        ({"classes": []}, "classes"),
        ({"arrays": {"../he": {"shape": [1, 4, 4, 3], "dtype": "uint8"}}}, "arrays"),
        ({"arrays": {"e": {"shape": [1, 4], "dtype": "float32"}}}, "no array of images"),
        ({"scheme": {"name": "s", "types": ["a", "a"]}}, "Scheme 's'"),
        ({"um_per_px": -1.0}, "um_per_px"),
        ({"um_per_px": float("nan")}, "malformed"),
        ({"absent": {"ihc": {}}}, "absent"),
        ({"splits": {"train": -1}}, "splits"),
        ({"files": {"/etc/passwd": {"bytes": 1, "blake2b": ""}}}, "files"),
        ({"format": 1}, "format 1"),
    ],
)
def test_invalid_values_are_named(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    (tmp_path / "meta.json").write_text(json.dumps(meta_document(**change)))
    with pytest.raises(DataError, match=reason):
        read_meta(tmp_path)


@pytest.mark.parametrize("key", sorted(meta_document()))
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    document = meta_document()
    del document[key]
    (tmp_path / "meta.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=key):
        read_meta(tmp_path)


def test_error_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(json.dumps(meta_document(datasheet={"a\nb\x1b\ud800": 1})))
    with pytest.raises(DataError) as error:
        read_meta(tmp_path)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("content", ["[" * 100_000, '{"format": 2, "format": 2}', "1" * 5000, ""])
def test_malformed_text_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(DataError, match=r"meta\.json of .* is invalid"):
        read_meta(tmp_path)


def test_permission_error_is_not_reported_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meta.json").touch()
    monkeypatch.setattr(Path, "read_bytes", Mock(side_effect=PermissionError(13, "denied")))
    with pytest.raises(PermissionError):
        read_meta(tmp_path)
