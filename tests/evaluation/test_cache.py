"""The cache: tensors are loaded only for the key that they were computed from."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from morefromless.evaluation.cache import cached, digest, digest_text, read_cached

KEY = {"weights": "a", "store": "b"}


def value(path: Path, key: dict[str, str], number: float) -> float:
    """The cached value at `path` for a key; if there is none, `number` is computed and cached."""
    tensors = {"x": torch.full((50,), number), "a": torch.zeros(3)}
    return float(cached(path, key, lambda: tensors)["x"][0])


def test_the_same_key_is_read_back_and_another_is_computed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.safetensors"
    assert value(path, KEY, 1) == 1
    assert value(path, KEY, 2) == 1
    assert value(path, {**KEY, "weights": "c"}, 3) == 3
    assert value(path, KEY, 4) == 4  # the other key replaced it
    assert [file.name for file in path.parent.iterdir()] == ["x.safetensors"]
    turned = torch.arange(6.0).view(2, 3).T
    cached(path, {}, lambda: {"x": turned})
    assert cached(path, {}, dict)["x"].equal(turned)


def test_where_nothing_may_be_written_it_is_computed_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("I/O error: Read-only file system (os error 30)")

    monkeypatch.setattr("morefromless.evaluation.cache.save_file", refuse)
    path = tmp_path / "x.safetensors"
    assert value(path, KEY, 1) == 1
    assert value(path, KEY, 2) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["empty", "cut", "bit", "text", "swapped", "foreign"])
def test_a_damaged_file_is_computed_again(tmp_path: Path, damage: str) -> None:
    path, other = tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    value(path, KEY, 1)
    value(other, {**KEY, "store": "other"}, 7)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(
        {
            "empty": b"",
            "cut": path.read_bytes()[:-10],
            "bit": bytes(content),
            "text": b"not tensors",
            "swapped": other.read_bytes(),
            "foreign": save({"x": torch.ones(50)}, {"format": "pt"}),
        }[damage]
    )
    assert value(path, KEY, 2) == 2
    assert value(path, KEY, 3) == 2


def test_a_digest_is_of_names_and_values() -> None:
    one = {"a": torch.arange(4.0), "b": torch.ones(2)}
    assert digest(one) == digest(dict(reversed(one.items())))
    assert digest(one) != digest({"a": one["b"], "b": one["a"]})
    assert digest(one) != digest({**one, "b": torch.zeros(2)})
    assert digest(one) != digest({"a": one["a"], "c": one["b"]})
    assert digest_text("a", "b") != digest_text("ab")


def test_another_key_in_the_file_is_no_sound_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    value(path, KEY, 1)
    stored = read_cached(path)
    assert stored is not None
    assert stored[1] == KEY
    content = path.read_bytes()
    for old, new in ((b'"store":"b"', b'"store":"c"'), (b'"I64"', b'"F64"')):
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        assert read_cached(path) is None
