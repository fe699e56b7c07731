"""Options as files hold them: one flat mapping by name, and back into typed dataclasses."""

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
    """All options by name, as JSON and YAML hold them: parts are dissolved, paths are text.

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
    """The inverse of `to_flat`; what is not given has its default, or `missing` where it has none.

    Raises `ConfigError`, in one sentence that begins with `origin`, for an option that `kind` does
    not have, that is missing, or whose value is of another type.

    >>> from morefromless.config import Train
    >>> from_flat(Train, {"lr": "1e-3", "size": 32}).lr
    0.001
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{origin} must be options by name, such as `epochs: 10`.")
    unknown = sorted(map(str, set(values) - _names(kind)))
    if unknown:
        near = near_names(unknown[0], _names(kind) - set(values))
        hint = f"is {near[0]} meant?" if near else "remove it."
        raise ConfigError(f"{origin} gives '{unknown[0]}', which is no option here; {hint}")
    return _nested(kind, values, origin, missing)


def typed_options(config: Any, reference: Any, without: Collection[str] = ()) -> list[str]:
    """The options in which `config` differs from `reference`, as they are typed.

    >>> from morefromless.config import Train
    >>> typed_options(Train(size=32, lr=1e-3), Train(), without=["lr"])
    ['--size', '32']
    """
    words, defaults = [], to_flat(reference)
    for name, value in to_flat(config).items():
        if name in without or value == defaults[name]:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if defaults[name] is not False:  # which is a flag's
            words += map(str, value if isinstance(value, list) else [value])
    return words


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """How the options of one flat mapping differ from those of another.

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
                raise ConfigError(f"{origin} lacks the option '{part.name}'.")
            arguments[part.name] = missing
    return kind(**arguments)


def _is_part(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


_hints = cache(typing.get_type_hints)
"""Of a class, by field; reading them takes a while."""


def _hint(kind: type, name: str) -> Any:
    return _hints(kind)[name]


def _convert(hint: Any, value: Any, name: str, origin: str) -> Any:
    if isinstance(value, int) and abs(value) >= 2**63:  # which Python may not even print
        raise ConfigError(f"{origin} has a wrong value for '{name}': the number is too large.")
    text = hint is str or set(map(type, _words(hint))) == {str}
    if text and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # YAML takes `precision: 32` for a number
    if isinstance(value, str) and typing.get_origin(hint) is tuple:
        value = [value]  # `sharing: independent`, as it is typed
    try:
        return msgspec.convert(value, type=hint, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        words = ", ".join(map(str, _words(hint)))
        known = f"; known: {words}" * bool(words)
        raise ConfigError(f"{origin} has a wrong value for '{name}': {error}{known}.") from error


def _words(hint: Any) -> tuple[Any, ...]:
    """What a type lists, whether or not it may be None."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    return tuple(word for part in typing.get_args(hint) for word in _words(part))


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    raise TypeError(f"expected a path, got {type(value).__name__}")
