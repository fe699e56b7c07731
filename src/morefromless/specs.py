"""Short specifications: what a person types to choose a member of an open set.

    downsample:7                     the member `downsample` with its first parameter set to 7
    downsample:7,interpolation=point positional values first, then named ones
    my_package.mine:Mine:0.5         a class of one's own, from outside the package

A plural folder of this package is an *open set*: every module in it that defines a public class
deriving from the folder's contract is a member, under the module's name (`table_s1.py` is typed
`table-s1`). Adding a member is adding a file. Values are converted to the annotated types of the
class's `__init__`, so a mistake is found before anything runs.
"""

import difflib
import importlib
import inspect
import pkgutil
import re
import typing
from types import ModuleType
from typing import Any, TypeVar

from morefromless.errors import ConfigError

Member = TypeVar("Member")


def members(package: ModuleType, contract: type[Member]) -> dict[str, type[Member]]:
    """The members of an open set by the name a person types, in alphabetical order."""
    found: dict[str, type[Member]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        own = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and value.__module__ == module.__name__
            and not value.__name__.startswith("_")
            and issubclass(value, contract)
        ]
        if len(own) == 1:
            found[info.name.replace("_", "-")] = own[0]
    return found


def build(spec: str, package: ModuleType, contract: type[Member]) -> Member:
    """The member that `spec` names, constructed. Raises `ConfigError` with near names."""
    what = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", contract.__name__).lower()
    known = members(package, contract)
    name, _, rest = spec.partition(":")
    if name in known:
        return _construct(known[name], rest, spec)
    if "." in name and rest:
        class_name, _, rest = rest.partition(":")
        return _construct(_imported(name, class_name, contract, spec), rest, spec)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}."
    raise ConfigError(f"There is no {what} named '{name}' (in '{spec}'); {hint}")


def _imported(module: str, name: str, contract: type[Member], spec: str) -> type[Member]:
    try:
        found = pkgutil.resolve_name(f"{module}:{name}")
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"'{spec}' cannot be imported ({error}); write it as package.module:Class "
            "and make sure that the package is installed here."
        ) from error
    if not (inspect.isclass(found) and issubclass(found, contract)):
        raise ConfigError(
            f"'{spec}' is not a {contract.__name__}; derive it from "
            f"{contract.__module__}.{contract.__name__}."
        )
    return found


def _construct(member: type[Member], arguments: str, spec: str) -> Member:
    parameters = dict(inspect.signature(member).parameters)
    hints = typing.get_type_hints(member.__init__)
    usage = f"usage: {signature(member)}"
    values: dict[str, Any] = {}
    named = False
    for position, text in enumerate(part for part in arguments.split(",") if part):
        key, has_key, value = text.partition("=")
        named |= bool(has_key)
        if not has_key:
            if position >= len(parameters) or named:
                raise ConfigError(f"'{spec}' has a value out of place: '{text}'; {usage}")
            key, value = list(parameters)[position], text
        key = key.strip().replace("-", "_")
        if key not in parameters:
            raise ConfigError(f"'{spec}' has no parameter '{key}'; {usage}")
        values[key] = _converted(value.strip(), hints.get(key, str), key, spec, usage)
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in values]
    if missing:
        raise ConfigError(f"'{spec}' lacks {', '.join(missing)}; {usage}")
    return member(**values)


def _converted(text: str, hint: Any, key: str, spec: str, usage: str) -> Any:
    options = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        if text in options:
            return text
        expected = " or ".join(map(str, options))
    elif hint is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        expected = "true or false"
    else:
        kinds = [kind for kind in (options or (hint,)) if kind is not type(None)]
        if text.lower() == "none" and type(None) in options:
            return None
        for kind in kinds:
            try:
                return kind(text)
            except (TypeError, ValueError):
                continue
        expected = " or ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
    raise ConfigError(f"'{text}' is not a value for '{key}' in '{spec}' ({expected}); {usage}")


def signature(member: type[object]) -> str:
    """How a member is typed, e.g. `downsample:size,interpolation=area`."""
    parts = [
        name if parameter.default is parameter.empty else f"{name}={parameter.default}"
        for name, parameter in inspect.signature(member).parameters.items()
    ]
    name = member.__module__.rpartition(".")[2].replace("_", "-")
    return f"{name}:{','.join(parts)}" if parts else name
