"""Values of a specification: conversion between text and the types of parameters."""

import re
import typing
from collections.abc import Sequence
from typing import Any

MAX_INT, MAX_FLOAT = 2**31 - 1, 1e15
"""Larger values are rejected as typing errors."""
SEQUENCES: dict[Any, Any] = {tuple: tuple, list: list, Sequence: tuple}
"""Types of sequences, with the class that builds each."""
TYPE_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number below 2^31",
    float: "a finite number up to 1e15",
}
_VALUE = re.compile(r"(?:([\w-]+)\s*=)?(?:'([^']*)'(?=,|$)|\"([^\"]*)\"(?=,|$)|([^,]*))(?:,|$)")


def parse_arguments(text: str) -> list[tuple[str, str]]:
    """Split arguments into pairs of key (or empty) and text, without quotes.

    >>> parse_arguments("7,interpolation=point,weights='a,b.pt'")
    [('', '7'), ('interpolation', 'point'), ('weights', 'a,b.pt')]
    """
    pairs = []
    for key, single, double, plain in _VALUE.findall(text):
        value = single or double or plain.strip()
        if key or value:
            pairs.append((key, value))
    return pairs


def parse_value(text: str, hint: Any) -> Any:
    """Convert `text` to the type `hint` of a parameter; `Any` guesses the type.

    Raises `ValueError` with a message of what is expected.

    >>> parse_value("0.5/0.4", tuple[float, ...]), parse_value("none", int | None)
    ((0.5, 0.4), None)
    """
    if hint is Any:
        return guess_value(text)
    options = typing.get_args(hint)
    if text.lower() == "none" and type(None) in options:
        return None
    union = options and typing.get_origin(hint) not in (*SEQUENCES, typing.Literal)
    kinds = [kind for kind in (options if union else (hint,)) if kind is not type(None)]
    for kind in kinds:
        try:
            return _convert(kind, text)
        except (TypeError, ValueError, OverflowError):
            continue
    raise ValueError(" or ".join(map(_describe_type, kinds)))


def guess_value(text: str) -> Any:
    """Guess the value of a parameter of unknown type: none, true, a number, numbers, or text."""
    if text.lower() == "none":
        return None
    for kind in (bool, int, float, tuple[int, ...], tuple[float, ...]):
        try:
            return _convert(kind, text)
        except ValueError:
            continue
    return text


def format_value(value: Any) -> str:
    """Format a value as a user would type it.

    >>> format_value(0.5), format_value(7.0), format_value((0.5, 0.4)), format_value("a,b")
    ('0.5', '7', '0.5/0.4', "'a,b'")
    """
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, tuple | list):
        return "/".join(map(format_value, value))
    text = str(value)
    if "," in text or text[:1] in ("'", '"') or text != text.strip():
        return f'"{text}"' if "'" in text else f"'{text}'"
    return text


def _convert(kind: Any, text: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if typing.get_origin(kind) is typing.Literal:
        if text not in typing.get_args(kind):
            raise ValueError(text)
        return text
    if typing.get_origin(kind) in SEQUENCES:
        several = (_convert(typing.get_args(kind)[0], part) for part in text.split("/"))
        return SEQUENCES[typing.get_origin(kind)](several)
    value = kind(text)
    if (kind is int and abs(value) > MAX_INT) or (kind is float and not abs(value) <= MAX_FLOAT):
        raise ValueError(text)
    return value


def _describe_type(kind: Any) -> str:
    if kind in TYPE_WORDS:
        return TYPE_WORDS[kind]
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    if typing.get_origin(kind) in SEQUENCES:
        return f"{_describe_type(typing.get_args(kind)[0])}, several joined by /"
    return str(getattr(kind, "__name__", kind))
