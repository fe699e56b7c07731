"""Specifications: the text that selects and configures a member of an open set.

    downsample:7                      the member `downsample` with its first parameter set to 7
    downsample:7,interpolation=point  positional values first, then named ones
    my_package.mine:Mine:0.5          a class from outside the package
    hf-hub:owner/name:pretrained=true a name with a scheme, if a member accepts such names (timm)

Values are separated by commas; colons in values have no special meaning. A value with a comma is
quoted: `weights='a,b.pt'`. Several numbers are joined by slashes: `mean=0.5/0.4/0.6`.

A plural folder of this package is an *open set*. Every module in it that defines a public class
derived from the folder's contract is a member, named after the module (`table_s1.py` is typed
`table-s1`). To add a member, add a file. Values are converted to the annotated types of the class's
`__init__`, so mistakes are found before anything runs.
"""

import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Collection, Mapping
from functools import cache
from types import ModuleType
from typing import Any, ClassVar, Self, TypeVar

from morefromless.errors import ConfigError, MoreFromLessError, first_line, near_names
from morefromless.spec_values import format_value, guess_value, parse_arguments, parse_value

T = TypeVar("T")

SCHEMES = ("hf-hub:", "hf_hub:", "local-dir:")
"""Prefixes of timm's names for models from other places."""
_ROOT = __name__.removesuffix("specs")
_NAME = re.compile(
    rf"(?P<scheme>(?:{'|'.join(SCHEMES)})[^:,]+)"
    r"|(?P<class>[A-Za-z_]\w*(?:\.\w+)+:[A-Za-z_]\w*(?=:|$))"
    r"|(?P<member>[^:]*)"
)


class Member:
    """Base class of members of an open set; it knows the shortest specification of an equal
    member."""

    member_kind: ClassVar[str] = ""
    """Name for members of the contract in messages; by default, the contract's own name in
    words."""
    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        member = super().__new__(cls)
        object.__setattr__(member, "_arguments", (args, kwargs))  # also for frozen classes
        return member

    @property
    def spec(self) -> str:
        """The specification in its normal form, which equal members share.

        >>> from morefromless.modalities.downsample import Downsample
        >>> Downsample(size=7, interpolation="area").spec
        'downsample:7'
        """
        args, kwargs = self._arguments
        return _text(type(self), dict(zip(_parameters(type(self)), args, strict=False)) | kwargs)


def members(package: ModuleType, contract: type[T]) -> dict[str, type[T]]:
    """Return the members of an open set by the name that a user types, in alphabetical order."""
    classes: dict[str, type[T]] = {}
    for name, defined in _classes(package).items():
        public = [value for value in defined if issubclass(value, contract)]
        if len(public) == 1:
            classes[name.replace("_", "-")] = public[0]
    return classes


@cache
def _classes(package: ModuleType) -> dict[str, list[type]]:
    """Return the public classes that are defined in each public module of a package."""
    modules = {
        info.name: importlib.import_module(f"{package.__name__}.{info.name}")
        for info in pkgutil.iter_modules(package.__path__)
        if not info.name.startswith("_")
    }
    return {
        name: [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and value.__module__ == module.__name__
            and not value.__name__.startswith("_")
        ]
        for name, module in modules.items()
    }


def build(spec: str, package: ModuleType, contract: type[T], **extra: Any) -> T:
    """Build the member that `spec` names; `extra` are values that the program adds.

    Raises `ConfigError`, with similar names if there are any.

    >>> from morefromless import modalities
    >>> build("downsample:7,interpolation=point", modalities, modalities.Modality)
    Downsample(size=7, interpolation='point', array='he')
    """
    member, values = _resolve(spec, package, contract, extra)
    try:
        built = member(**values)
    except MoreFromLessError:
        raise
    except Exception as error:  # a class may raise any type
        raise ConfigError(
            f"'{spec}' cannot be built ({first_line(error)}); check its values."
        ) from error
    for name in inspect.get_annotations(contract):
        if not hasattr(built, name):
            raise ConfigError(f"'{spec}' has no `{name}`, which its class must set.")
    return built


def normalise(
    spec: str,
    package: ModuleType,
    contract: type[T],
    *,
    without: Collection[str] = (),
) -> str:
    """Return the normal form of a specification, without building its member.

    Values are positional as far as possible; defaults, and the parameters in `without`, are
    omitted.

    >>> from morefromless import modalities
    >>> normalise("downsample:array=he,size=07", modalities, modalities.Modality)
    'downsample:7'
    """
    member, values = _resolve(spec, package, contract, {})
    return _text(member, {name: value for name, value in values.items() if name not in without})


def split(spec: str) -> tuple[str, str]:
    """Split a specification into its name and its arguments.

    >>> split("downsample:7,interpolation=point")
    ('downsample', '7,interpolation=point')
    >>> split("hf-hub:owner/name:pretrained=true")
    ('hf-hub:owner/name', 'pretrained=true')
    """
    match = _NAME.match(spec)
    assert match is not None  # the last alternative matches anything
    return match[0], spec[match.end() :].removeprefix(":")


SPEC_OPTIONS = (
    "distillation",
    "encoder",
    "objective",
    "objectives",
    "primary",
    "privileged",
    "privileged_encoder",
    "probe",
    "references",
    "task",
    "tasks",
    "teacher",
    "views",
)
"""Options whose values are specifications."""


def refuse_outside(options: Mapping[str, Any], origin: str) -> None:
    """Raise `ConfigError` if options from a file name a class from outside the package.

    A class that a foreign file names is imported only if the user trusts the file.

    >>> refuse_outside({"encoder": "antigravity.x:Y"}, "run.json")
    Traceback (most recent call last):
    morefromless.errors.ConfigError: run.json names a class from outside the package
    (encoder: antigravity.x:Y); give --trust to import it, if you know where the file comes from.
    """
    for option in SPEC_OPTIONS:
        value = options.get(option) or []
        for spec in value if isinstance(value, list | tuple) else [value]:
            match = _NAME.match(str(spec))
            if match and match["class"]:
                raise ConfigError(
                    f"{origin} names a class from outside the package ({option}: {spec}); give "
                    "--trust to import it, if you know where the file comes from."
                )


def signature(member: type[object]) -> str:
    """Return how a member is typed, e.g. `downsample:size,interpolation=area`."""
    parts = [
        name
        if parameter.default is parameter.empty
        else f"{name}={format_value(parameter.default)}"
        for name, parameter in _parameters(member).items()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]
    return f"{_name(member)}:{','.join(parts)}" if parts else _name(member)


def _resolve(
    spec: str, package: ModuleType, contract: type[T], extra: Mapping[str, Any]
) -> tuple[type[T], dict[str, Any]]:
    available = members(package, contract)
    name, text = split(spec)
    if name in available:
        return available[name], _values(available[name], text, spec, extra)
    if _NAME.fullmatch(name)["class"]:  # type: ignore[index]
        member = _imported(name, contract, spec)
        return member, _values(member, text, spec, extra)
    near = near_names(name, available, 3, cutoff=0.4)
    if re.search(r"\.|:[A-Z]", spec.partition(",")[0]):  # looks like a class, but is malformed
        near = []
    hint = f"did you mean {' or '.join(near)}?" if near else _list_names(available)
    raise ConfigError(f"There is no {_kind(contract)} named '{name}' (in '{spec}'); {hint}")


def _list_names(names: Collection[str]) -> str:
    return f"known: {', '.join(names)}, or your own class as package.module:Class."


def _kind(contract: type[object]) -> str:
    """Return the name of a contract's members: its `member_kind`, or its own name in words."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", contract.__name__).lower()
    return getattr(contract, "member_kind", "") or words


def _imported(name: str, contract: type[T], spec: str) -> type[T]:
    try:
        member = pkgutil.resolve_name(name)
    except (Exception, SystemExit) as error:  # a module may raise any type
        raise ConfigError(
            f"'{spec}' cannot be imported ({first_line(error)}); write it as package.module:Class "
            "and check that the package is installed."
        ) from error
    if not (inspect.isclass(member) and issubclass(member, contract)):
        raise ConfigError(
            f"'{spec}' is not a {contract.__name__}; derive it from "
            f"{contract.__module__}.{contract.__name__}."
        )
    return member


def _values(member: type[object], text: str, spec: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the converted arguments by parameter."""
    parameters = _parameters(member)
    further = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    parameters = {n: p for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    hints = _hints(member, parameters)
    usage = f"usage: {signature(member)}"
    values: dict[str, Any] = {}
    named = False
    for position, (key, value) in enumerate(parse_arguments(text)):
        if not key and (named or position >= len(parameters)):
            raise ConfigError(f"'{spec}' has a misplaced value '{value}'; {usage}")
        named |= bool(key)
        key = key.replace("-", "_") or list(parameters)[position]
        if key in values or key in extra:
            raise ConfigError(f"'{spec}' gives '{key}' twice; {usage}")
        if key in parameters:
            try:
                values[key] = parse_value(value, hints[key])
            except ValueError as error:
                raise ConfigError(
                    f"'{value}' is not a valid value for '{key}' in '{spec}' ({error}); {usage}"
                ) from error
        elif further:
            values[key] = guess_value(value)
        else:
            raise ConfigError(f"'{spec}' has no parameter '{key}'; {usage}")
    for key in extra:
        if key not in parameters and not further:
            raise ConfigError(f"'{spec}' has no parameter '{key}'; {usage}")
    values |= extra
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in values]
    if missing:
        raise ConfigError(f"'{spec}' is missing {', '.join(missing)}; {usage}")
    return values


def _parameters(member: type[object]) -> dict[str, inspect.Parameter]:
    if member.__init__ is object.__init__:
        return {}
    return dict(list(inspect.signature(member.__init__).parameters.items())[1:])


def _hints(member: type[object], parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return the types of a class's parameters: the annotation, else the type of the default, else
    any (`guess_value`)."""
    try:
        hints = typing.get_type_hints(member.__init__)
    except NameError:  # a type imported only for type checkers
        hints = {}
    kinds = {bool: bool, int: int | float, float: float, str: str}
    return {n: hints.get(n, kinds.get(type(p.default), Any)) for n, p in parameters.items()}


def _name(member: type[object]) -> str:
    """Return the name that a user types: the module's name in an open set, else
    `package.module:Class`."""
    package, _, module = member.__module__.rpartition(".")
    # A package from outside may have its own base class, too.
    if package.startswith(_ROOT) and any(b.__module__ == package for b in member.__mro__[1:]):
        return module.replace("_", "-")
    return f"{member.__module__}:{member.__qualname__}"


def _text(member: type[object], values: Mapping[str, Any]) -> str:
    parameters = _parameters(member)
    parts: list[str] = []
    positional = True
    further = [name for name in values if name not in parameters]
    for name in [*parameters, *sorted(further)]:
        default = parameters[name].default if name in parameters else inspect.Parameter.empty
        if name not in values or values[name] == default:
            positional = False
            continue
        value, text = values[name], format_value(values[name])
        plain = bool(text) and "=" not in text and not isinstance(value, bool)
        positional = positional and plain and name in parameters
        parts.append(text if positional else f"{name}={text}")
    return f"{_name(member)}:{','.join(parts)}" if parts else _name(member)
