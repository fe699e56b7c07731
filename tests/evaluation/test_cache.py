"""The cache: tensors are loaded only for the key that they were computed from."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from morefromless.evaluation.cache import cached, digest, digest_text, read_cached

KEY = {"weights": "a", "store": "b"}


def cached_value(path: Path, key: dict[str, str], number: float) -> float:
    """The cached value at `path` for a key; if there is none, `number` is computed and cached."""
    tensors = {"x": torch.full((50,), number), "a": torch.zeros(3)}
    return float(cached(path, key, lambda: tensors)["x"][0])


def test_value_is_cached_for_its_key_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.safetensors"
    assert cached_value(path, KEY, 1) == 1
    assert cached_value(path, KEY, 2) == 1
    assert cached_value(path, {**KEY, "weights": "c"}, 3) == 3
    assert cached_value(path, KEY, 4) == 4  # the other key replaced it
    assert [file.name for file in path.parent.iterdir()] == ["x.safetensors"]
    transposed = torch.arange(6.0).view(2, 3).T
    cached(path, {}, lambda: {"x": transposed})
    assert cached(path, {}, dict)["x"].equal(transposed)


def test_unwritable_cache_computes_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("I/O error: Read-only file system (os error 30)")

    monkeypatch.setattr("morefromless.evaluation.cache.save_file", refuse)
    path = tmp_path / "x.safetensors"
    assert cached_value(path, KEY, 1) == 1
    assert cached_value(path, KEY, 2) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "text", "swapped", "foreign"])
def test_a_damaged_file_is_computed_again(tmp_path: Path, damage: str) -> None:
    path, other_path = tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    cached_value(path, KEY, 1)
    cached_value(other_path, {**KEY, "store": "other"}, 7)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(
        {
            "empty": b"",
            "cut": path.read_bytes()[:-10],
            "bit": bytes(content),
            "text": b"not tensors",
            "swapped": other_path.read_bytes(),
            "foreign": save({"x": torch.ones(50)}, {"format": "pt"}),
        }[damage]
    )
    assert cached_value(path, KEY, 2) == 2
    assert cached_value(path, KEY, 3) == 2


def test_digest_depends_on_names_and_values() -> None:
    tensors = {"a": torch.arange(4.0), "b": torch.ones(2)}
    assert digest(tensors) == digest(dict(reversed(tensors.items())))
    assert digest(tensors) != digest({"a": tensors["b"], "b": tensors["a"]})
    assert digest(tensors) != digest({**tensors, "b": torch.zeros(2)})
    assert digest(tensors) != digest({"a": tensors["a"], "c": tensors["b"]})
    assert digest_text("a", "b") != digest_text("ab")


def test_changed_file_is_not_a_valid_cache(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    cached_value(path, KEY, 1)
    stored = read_cached(path)
    assert stored is not None
    assert stored[1] == KEY
    content = path.read_bytes()
    for old, new in ((b'"store":"b"', b'"store":"c"'), (b'"I64"', b'"F64"')):
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        assert read_cached(path) is None
