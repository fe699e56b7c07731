"""The command line, generated from the options' dataclasses.

A user's mistake ends a command with one sentence on standard error and exit code 2.
"""

import codecs
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Union, cast

import tyro

from morefromless import config, progress
from morefromless.commands.table import COMMANDS, GROUPS, Command
from morefromless.documents import parse_yaml
from morefromless.errors import (
    ConfigError,
    MoreFromLessError,
    explain_os_error,
    near_names,
    one_line,
)
from morefromless.regular import read_bytes
from morefromless.specs import refuse_outside

DESCRIPTION = """Train an encoder for routine, information-sparse histology images with the help of
information-dense data of the same tissue, and measure how much it improves.

The main steps are mfl ingest FOLDER STORE, mfl views STORE and mfl compare STORE. mfl demo runs
them on synthetic tissue."""

COMMON_OPTIONS = {
    "--help": "Explain the command's options, with an example.",
    "--config FILE": "Read options from a file, such as the config.yaml of a run; typed options "
    "override them. With --trust, the file may name classes from outside the package.",
    "--quiet": "Show no progress.",
    "--json": "Show progress as JSON, one object per line.",
}
"""Options of every command, with their help."""

COMMON_OPTIONS_NOTE = "Every command also has --config FILE, --quiet and --json: see mfl --help."
"""The last line of each command's help, because tyro does not know these options."""


def main() -> None:
    """Entry point of `mfl`. Exits with 0, 2 for an error that the user can fix, or 130 if
    interrupted."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # if closed, the next opened file would get its number
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r+"))
    if os.environ.get("LC_ALL") in ("C", "POSIX"):  # Python itself would write UTF-8
        codecs.register_error("spell", lambda error: (_to_ascii(error), error.end))  # type: ignore[attr-defined]
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="ascii", errors="spell")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:]))


ASCII_REPLACEMENTS = {"µ": "u", "×": "x", "−": "-", "±": "+-", "†": "+", "→": "->", "Δ": "delta"}


def _to_ascii(error: Any) -> str:
    """Replace characters that an ASCII terminal cannot show by similar ASCII characters."""
    return "".join(
        ASCII_REPLACEMENTS.get(sign, "?") for sign in error.object[error.start : error.end]
    )


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    os.environ["MPLBACKEND"] = "Agg"  # only files; a notebook's backend may be missing
    arguments, mode = _mode([_expand_home(word) for word in arguments])
    name = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    try:
        if arguments == ["--version"]:
            print(f"morefromless {version('morefromless')}")
            return 0
        if arguments in ([], ["-h"], ["--help"]):
            print(_overview())
            return 0
        _check_folder()
        options = _parse(arguments, name)
        with progress.use_mode(mode):
            next(c for c in COMMANDS.values() if c.config is type(options)).function(options)
        sys.stdout.flush()
    except MoreFromLessError as error:
        return _fail(name, str(error))
    except BrokenPipeError:  # the reader of the output has exited
        _discard_output()
        return 141
    except OSError as error:
        _discard_output()
        return _fail(name, explain_os_error(error))
    except MemoryError:
        return _fail(
            name,
            "Out of memory; give a smaller --batch, --jobs or --workers, and run the command "
            "again to resume.",
        )
    except KeyboardInterrupt:
        _fail(name, "Interrupted; run the same command again to resume.")
        return 130
    return 0


def _discard_output() -> None:
    """Discard output that cannot be written; otherwise Python tries again at exit, with a
    traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(command: str, sentence: str) -> int:
    with suppress(OSError, ValueError):  # standard error is closed
        print(f"{f'mfl {command}'.strip()}: {one_line(sentence)}", file=sys.stderr)
    return 2


def _check_folder() -> None:
    """Raise `ConfigError` if the working directory was removed; libraries would abort the
    process."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError(
            "The working directory was removed; change to another one (cd), and run again."
        ) from error


def _expand_home(word: str) -> str:
    """Expand ~ to the home folder, also after an equals sign, where shells leave it unchanged."""
    return re.sub(r"(^|[=:])~(?=/|\Z)", lambda match: match[1] + str(Path.home()), word)


def _mode(arguments: list[str]) -> tuple[list[str], progress.Mode | None]:
    """Return the arguments without `--quiet` and `--json`, and the mode that these select."""
    requested: progress.Mode | None = None
    if "--quiet" in arguments:
        requested = "quiet"
    elif "--json" in arguments:
        requested = "json"
    return [word for word in arguments if word not in ("--quiet", "--json")], requested


def _parse(arguments: list[str], name: str) -> Any:
    """Parse the arguments to a dataclass; tyro handles mistakes and --help."""
    if arguments and not name and not arguments[0].startswith("-"):
        near = near_names(arguments[0], COMMANDS, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "mfl --help lists them."
        raise ConfigError(f"There is no command '{arguments[0]}'; {hint}")
    defaults = _from_file(arguments, name)
    if name:
        config.explain_options(COMMANDS[name].config)
    settings = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    if name:  # parse this command alone, or hints name other commands' options
        command = COMMANDS[name]
        help_asked = bool({"-h", "--help"} & set(arguments))
        try:
            return tyro.cli(
                command.config,
                prog=f"mfl {name}",
                description=_description(command),
                # With values given, tyro's help would omit their positional arguments.
                args=["--help"] if help_asked else arguments[1:],
                default=defaults,
                config=settings,
            )
        except SystemExit as end:
            if not end.code and help_asked:
                print(_fill(COMMON_OPTIONS_NOTE))
            raise
    kinds = tuple(
        Annotated[command.config, tyro.conf.subcommand(word, description=command.summary)]
        for word, command in COMMANDS.items()
    )
    return tyro.cli(
        cast(type[Any], Union[kinds]),  # noqa: UP007 - built at run time
        prog="mfl",
        args=arguments,
        config=settings,
    )


def _overview() -> str:
    """List all commands, one sentence each; tyro's own list is as wide as all their names
    together."""
    lists = {
        title: {word: re.split(r"(?<=\.) ", command.summary)[0] for word, command in group.items()}
        for title, group in GROUPS.items()
    }
    lines = ["usage: mfl COMMAND [OPTIONS]", "", _wrap(DESCRIPTION)]
    for title, rows in [*lists.items(), ("Options of every command", COMMON_OPTIONS)]:
        lines += ["", f"{title}:"]
        lines += [_fill(f"{word:13}  {sentence}", hanging=15) for word, sentence in rows.items()]
    return "\n".join(lines)


def _description(command: Command) -> str:
    """Return the text above a command's options."""
    return _wrap(f"{command.summary}\n\nExample: {command.example}")


def _wrap(text: str) -> str:
    """Wrap paragraphs at the terminal's width, or at 100 columns if that is smaller.

    They are indented, because tyro joins lines that begin with a letter.
    """
    return "\n\n".join(_fill(" ".join(part.split())) for part in text.split("\n\n"))


def _fill(text: str, hanging: int = 0) -> str:
    return textwrap.fill(
        text,
        min(100, shutil.get_terminal_size().columns),
        initial_indent="  ",
        subsequent_indent=" " * (2 + hanging),
        break_on_hyphens=False,
    )


def _from_file(arguments: list[str], name: str) -> Any:
    """Read the options of `--config FILE` and remove it from the arguments; None without it."""
    position = next(
        (k for k, word in enumerate(arguments) if word.split("=")[0] == "--config"), None
    )
    if position is None or not name:
        return None
    _, equals, file = arguments.pop(position).partition("=")
    if not equals and position < len(arguments):
        file = arguments.pop(position)
    if not file:
        raise ConfigError("--config needs a file, such as the config.yaml of a run.")
    path = Path(file)
    try:
        values = parse_yaml(read_bytes(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{path} cannot be read as options ({reason}); check the file."
        ) from error
    kind = COMMANDS[name].config
    if "--trust" not in arguments and isinstance(values, dict):
        refuse_outside(values, str(path))
    elif "--trust" in arguments and "trust" not in {field.name for field in fields(kind)}:
        arguments.remove("--trust")  # it applies to the file only
    return config.from_flat(kind, values, str(path), tyro.MISSING)  # may be in the arguments
