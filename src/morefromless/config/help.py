"""Readable help texts: each a single paragraph, types in words, no "(default: None)"."""

import dataclasses
import types
import typing
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import docstring_parser
import tyro
from tyro.constructors import PrimitiveConstructorSpec

File = Annotated[Path, "FILE"]
"""Path of a file; any other path is a folder."""

TYPE_WORDS: dict[Any, str] = {
    str: "TEXT",
    int: "NUMBER",
    float: "NUMBER",
    Path: "FOLDER",
    bool | None: "True|False",
}


@cache
def explain_options(kind: type) -> None:
    """Give tyro each option's docstring as one paragraph, and its type in words.

    Without this, tyro breaks lines where the source does, and prints Python type names
    (`{None}|PATH`).
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    sentences = {
        option.arg_name: option.description or ""
        for base in reversed(kind.__mro__)
        if dataclasses.is_dataclass(base)
        for option in docstring_parser.parse_from_object(base).params
    }
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            explain_options(hint)  # type: ignore[arg-type]
            continue
        help = tyro.conf.arg(
            help=" ".join(sentences.get(field.name, "").split()),
            metavar=_placeholder(field, hint) if _positional(hint) else _type_word(hint),
            help_behavior_hint=_default(field),
        )
        number = _number(hint)
        kind.__annotations__[field.name] = (
            Annotated[hint, help] if number is None else Annotated[hint, help, number]
        )


def _number(hint: Any) -> PrimitiveConstructorSpec[Any] | None:
    """Return how to parse a number, or None for other types. Errors of tyro name Python's types."""
    for kind, words in {int: "a whole number", float: "a number"}.items():
        if hint in (kind, kind | None):
            return PrimitiveConstructorSpec(
                nargs=1,
                metavar="NUMBER",
                instance_from_str=partial(_parse_number, kind, words),
                is_instance=lambda value: value is None or isinstance(value, int | float),
                str_from_instance=lambda value: [str(value)],
            )
    return None


def _parse_number(kind: type[int | float], words: str, given: list[str]) -> int | float:
    """Parse the one word of `given`.

    >>> _parse_number(float, "a number", ["2,5"])
    Traceback (most recent call last):
    ValueError: '2,5' is not a number.
    """
    try:
        return kind(given[0])
    except ValueError as error:
        raise ValueError(f"'{given[0]}' is not {words}.") from error


def _positional(hint: Any) -> bool:
    return tyro.conf.Positional in getattr(hint, "__metadata__", ())


def _placeholder(field: Any, hint: Any) -> str:
    """Return the placeholder of a positional argument, such as STORE in `mfl compare STORE`."""
    word = next((extra for extra in hint.__metadata__ if isinstance(extra, str)), None)
    if word is not None:
        return word
    several = " ..." if typing.get_origin(typing.get_args(hint)[0]) is tuple else ""
    name = f"{field.name.upper()}{several}"
    return name if field.default is dataclasses.MISSING else f"[{name}]"


def _type_word(hint: Any) -> str | None:
    """Return a type in words, or None for tyro's own.

    >>> hints = File | None, tuple[str, ...], typing.Literal["cpu", "gpu"]
    >>> [_type_word(hint) for hint in hints]
    ['FILE', 'TEXT ...', 'cpu|gpu']
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint in TYPE_WORDS:
        return TYPE_WORDS[hint]
    if origin is Annotated:
        word = next((extra for extra in parts[1:] if isinstance(extra, str)), None)
        return word or _type_word(parts[0])
    if origin in (typing.Union, types.UnionType):
        return next(_type_word(part) for part in parts if part is not type(None))
    if origin is typing.Literal:
        return "|".join(map(str, parts))
    if origin is tuple:
        return f"{_type_word(parts[0])} ..."
    return None  # a flag


def _default(field: Any) -> str | None:
    """Return the note on the default after an option's help: none, or None for tyro's own."""
    shown = field.default not in (None, (), "", dataclasses.MISSING) and field.default is not False
    return None if shown else ""
