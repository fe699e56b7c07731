"""Conversion between options as dataclasses and one flat mapping by name, as in files."""

import dataclasses
import typing
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from morefromless.errors import ConfigError, near_names

Config = TypeVar("Config")


def to_flat(config: Any) -> dict[str, Any]:
    """Return all options by name, as stored in JSON and YAML: nested parts are flattened, paths are
    text.

    >>> from morefromless.config import ExportNucleiConfig
    >>> to_flat(ExportNucleiConfig(store=Path("a"), out=Path("b")))
    {'store': 'a', 'out': 'b'}
    """
    flat: dict[str, Any] = {}
    for part in dataclasses.fields(config):
        value = getattr(config, part.name)
        if dataclasses.is_dataclass(value):
            flat |= to_flat(value)
        elif isinstance(value, tuple):
            flat[part.name] = list(value)
        else:
            flat[part.name] = str(value) if isinstance(value, Path) else value
    return flat


def from_flat(
    kind: type[Config],
    values: Mapping[str, Any],
    origin: str = "The configuration",
    missing: Any = dataclasses.MISSING,
) -> Config:
    """Build `kind` from options by name; the inverse of `to_flat`.

    A missing option gets its default. If it has no default, it gets `missing` if that is given.
    Raises `ConfigError`, in one sentence that begins with `origin`, if an option is unknown, is
    missing, or has a value of another type.

    >>> from morefromless.config import Train
    >>> from_flat(Train, {"lr": "1e-3", "size": 32}).lr
    0.001
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{origin} must be a mapping of options, such as `epochs: 10`.")
    unknown = sorted(map(str, set(values) - _names(kind)))
    if unknown:
        near = near_names(unknown[0], _names(kind) - set(values))
        hint = f"did you mean {near[0]}?" if near else "remove it."
        raise ConfigError(f"{origin} has the unknown option '{unknown[0]}'; {hint}")
    return _nested(kind, values, origin, missing)


def typed_options(config: Any, reference: Any, without: Collection[str] = ()) -> list[str]:
    """Return the options in which `config` differs from `reference`, as typed on the command line.

    >>> from morefromless.config import Train
    >>> typed_options(Train(size=32, lr=1e-3), Train(), without=["lr"])
    ['--size', '32']
    """
    words, defaults = [], to_flat(reference)
    for name, value in to_flat(config).items():
        if name in without or value == defaults[name]:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if defaults[name] is not False:  # a flag takes no value
            words += map(str, value if isinstance(value, list) else [value])
    return words


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Describe how the options of one flat mapping differ from those of another.

    >>> differences({"lr": 0.1, "compile": True, "task": "cell"}, {"lr": 0.01, "compile": False})
    ['--lr was 0.1, is 0.01', '--compile was on, is off']
    """
    return [
        f"--{name.replace('_', '-')} was {_typed(before.get(name))}, is {_typed(value)}"
        for name, value in after.items()
        if value != before.get(name)
    ]


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value in (None, []):
        return "not given"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _names(kind: type) -> set[str]:
    names: set[str] = set()
    for part in dataclasses.fields(kind):
        hint = _hint(kind, part.name)
        names |= _names(hint) if _is_part(hint) else {part.name}
    return names


def _nested(kind: type[Config], values: Mapping[str, Any], origin: str, missing: Any) -> Config:
    arguments: dict[str, Any] = {}
    for part in dataclasses.fields(kind):  # type: ignore[arg-type]
        hint = _hint(kind, part.name)
        if _is_part(hint):
            arguments[part.name] = _nested(hint, values, origin, missing)
        elif part.name in values:
            arguments[part.name] = _convert(hint, values[part.name], part.name, origin)
        elif part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING:
            if missing is dataclasses.MISSING:
                raise ConfigError(f"{origin} is missing the required option '{part.name}'.")
            arguments[part.name] = missing
    return kind(**arguments)


def _is_part(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


_hints = cache(typing.get_type_hints)
"""Type hints of a class by field, cached because reading them is slow."""


def _hint(kind: type, name: str) -> Any:
    return _hints(kind)[name]


def _convert(hint: Any, value: Any, name: str, origin: str) -> Any:
    if isinstance(value, int) and abs(value) >= 2**63:  # Python may refuse to print it
        raise ConfigError(f"{origin} has a wrong value for '{name}': the number is too large.")
    text = hint is str or set(map(type, _words(hint))) == {str}
    if text and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # YAML reads `precision: 32` as a number
    if isinstance(value, str) and typing.get_origin(hint) is tuple:
        value = [value]  # a single value without a list, such as `sharing: independent`
    try:
        return msgspec.convert(value, type=hint, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        words = ", ".join(map(str, _words(hint)))
        choices = f"; known: {words}" * bool(words)
        raise ConfigError(f"{origin} has a wrong value for '{name}': {error}{choices}.") from error


def _words(hint: Any) -> tuple[Any, ...]:
    """Return the words of a `Literal` type, also if it is optional."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    return tuple(word for part in typing.get_args(hint) for word in _words(part))


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    raise TypeError(f"expected a path, got {type(value).__name__}")
