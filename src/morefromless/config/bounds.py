"""Validation of options: finite numbers in a range, shares, values without repeats."""

import math
from pathlib import Path
from typing import get_args, get_type_hints

from morefromless.errors import ConfigError

MAX_NUMBER = 1e15
"""Larger numbers are rejected as typing errors."""


def check_at_least(minimum: float, config: object, *names: str) -> None:
    """Raise `ConfigError` if one of these options is below `minimum`, or is not finite."""
    check_between(minimum, math.inf, config, *names)


def check_between(minimum: float, maximum: float, config: object, *names: str) -> None:
    """Raise `ConfigError` if a value of one of these options is not in [minimum, maximum].

    An option may be a number, a tuple of numbers, or None, which is accepted.
    """
    for name in names:
        for value in _values(config, name):
            if not minimum <= value <= min(maximum, MAX_NUMBER):  # also rejects NaN
                limit = f" and at most {maximum:,.0f}" if math.isfinite(maximum) else ""
                raise ConfigError(f"--{_option(name)} is {value}; give {minimum:g} or more{limit}.")


def check_above_zero(config: object, *names: str) -> None:
    """Raise `ConfigError` if an option is not a finite number above zero; None is accepted."""
    for name in names:
        for value in _values(config, name):
            if not 0 < value <= MAX_NUMBER:
                raise ConfigError(f"--{_option(name)} is {value}; give a number above 0.")


def check_share(config: object, *names: str) -> None:
    """Raise `ConfigError` if an option is not in (0, 1]."""
    for name in names:
        value = getattr(config, name)
        if not 0 < value <= 1:
            raise ConfigError(f"--{_option(name)} is {value:g}; give a share above 0, at most 1.")


def check_choice(config: object, *names: str) -> None:
    """Raise `ConfigError` if an option is not one of the words of its `Literal` type."""
    hints = get_type_hints(type(config))
    for name in names:
        value, words = getattr(config, name), get_args(hints[name])
        if value not in words:
            choices = " or ".join(words)
            raise ConfigError(f"--{_option(name)} {value} is unknown; give {choices}.")


def take_paths(config: object, *names: str) -> None:
    """Convert text options, as given in a notebook, to paths."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, str):
            object.__setattr__(config, name, Path(value).expanduser())  # the class is frozen


def refuse_repeats(name: str, values: tuple[str, ...]) -> None:
    """Raise `ConfigError` for a repeated value, which would count one run several times."""
    if isinstance(values, str):
        raise ConfigError(f"{name} is the text '{values}'; give a tuple, such as ('{values}',).")
    for value in values:
        if values.count(value) > 1:
            raise ConfigError(f"--{_option(name)} has {value} twice; give each value once.")


def _values(config: object, name: str) -> tuple[float, ...]:
    value = getattr(config, name)
    if isinstance(value, tuple):
        return value
    return () if value is None else (value,)


def _option(name: str) -> str:
    return name.replace("_", "-")
