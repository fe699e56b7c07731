"""The command line, made from the options' dataclasses.

Every command answers a mistake of its user's with one sentence on standard error and exit code 2.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Union, cast

import tyro
import yaml

from morefromless import commands, config
from morefromless.errors import ConfigError, MoreFromLessError, explain_os_error
from morefromless.specs import refuse_outside

WHAT = """Train an encoder for routine, information-sparse histology images so that it knows what
information-dense data of the same tissue know, and find out what that bought.

mfl ingest FOLDER STORE, then mfl views STORE, then mfl compare STORE is the whole of it; mfl demo
runs it on synthetic tissue. mfl COMMAND --help explains each."""


@dataclass(frozen=True)
class Command:
    """What a word after `mfl` does."""

    config: type
    function: Callable[[Any], None]
    summary: str


COMMANDS = {
    "ingest": Command(
        config.IngestConfig,
        commands.ingest,
        "Decode a source once into a store. Interrupted, the same command goes on where it was.",
    ),
    "segment": Command(
        config.SegmentConfig,
        commands.segment,
        "Segment the nuclei of every patch with HoVer-Net (extra nuclei), for mfl ingest --nuclei.",
    ),
    "views": Command(
        config.ViewsConfig,
        commands.views,
        "Write a contact sheet: patches, what each branch is given of them, and their views.",
    ),
    "export": Command(
        config.ExportConfig,
        commands.export,
        "Write a store's nuclei as GeoJSON files for QuPath, one a patch.",
    ),
    "compare": Command(
        config.StudyConfig,
        commands.compare,
        "Train every arm with several seeds, ask each encoder every task, frozen, and write tables "
        "and figures. What is done already is not done again. With --both-ways, two modalities "
        "teach each other, as in the paper's Table 2.",
    ),
    "train": Command(
        config.RunConfig,
        commands.train,
        "Train one arm with one seed. --config RUN/config.yaml repeats a run.",
    ),
    "probe": Command(
        config.ProbeConfig,
        commands.probe,
        "Evaluate a finished run: each branch, frozen, on its own modality.",
    ),
    "explain": Command(
        config.ExplainConfig,
        commands.explain,
        "Compare two runs with each other: one HTML page with confusion matrices, CKA, a map of "
        "the features, and every test patch on which they disagree, with where each looks.",
    ),
    "represent": Command(
        config.RepresentConfig,
        commands.represent,
        "Compare what the arms of a finished study represent: CKA over all combinations of "
        "their runs and untrained ones, GradCAMs, confusion matrices (the paper's Fig. 2, 3, S4, "
        "S5).",
    ),
    "reproduce": Command(
        config.ReproduceConfig,
        commands.reproduce,
        "Carry out the paper's tables and figures on your store, at a scale; --plan says what that "
        "takes. Interrupted, the same command goes on where it was.",
    ),
    "status": Command(
        config.StatusConfig,
        commands.status,
        "Say which runs are done, running, failed (and why) or waiting, here or on a cluster.",
    ),
    "report": Command(
        config.ReportConfig,
        commands.report,
        "Write the report of a reproduction, or of a comparison, from what lies in its folder: one "
        "HTML page, and its Markdown.",
    ),
    "demo": Command(
        config.DemoConfig,
        commands.demo,
        "Run the main job on synthetic tissue whose answer is known: once where the privileged "
        "modality must help, once where it must not. Then image and nuclei mask, both ways.",
    ),
}


def main() -> None:
    """Entry point of `mfl`: exit code 0, 2 for what the user can mend, 130 where interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit code."""
    name = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    try:
        options = _parse(list(arguments), name)
        next(c for c in COMMANDS.values() if c.config is type(options)).function(options)
    except MoreFromLessError as error:
        return _fail(name, str(error))
    except BrokenPipeError:  # who read our output has gone: nothing is left to say, or to whom
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _fail(name, explain_os_error(error))
    except MemoryError:
        return _fail(
            name, "The memory is used up; give a smaller --batch, --jobs or --workers, and go on."
        )
    except KeyboardInterrupt:
        _fail(name, "Interrupted; the same command goes on where it was.")
        return 130
    return 0


def _fail(command: str, sentence: str) -> int:
    with suppress(OSError, ValueError):  # standard error is closed
        print(f"mfl {command}: {' '.join(sentence.split())}", file=sys.stderr)
    return 2


def _parse(arguments: list[str], name: str) -> Any:
    """The dataclass that the arguments describe; tyro answers mistakes and --help."""
    defaults = _from_file(arguments, name)
    kinds = tuple(
        Annotated[
            command.config,
            tyro.conf.subcommand(
                word,
                description=command.summary,
                **({"default": defaults} if word == name and defaults else {}),
            ),
        ]
        for word, command in COMMANDS.items()
    )
    return tyro.cli(
        cast(type[Any], Union[kinds]),  # noqa: UP007 - built at run time
        prog="mfl",
        description=WHAT,
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _from_file(arguments: list[str], name: str) -> Any:
    """Options of `--config FILE`, which is taken out of the arguments; None without one."""
    if "--config" not in arguments or not name:
        return None
    at = arguments.index("--config")
    if at + 1 == len(arguments):
        raise ConfigError("--config needs a file, such as the config.yaml of a run.")
    path = Path(arguments[at + 1])
    del arguments[at : at + 2]
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} cannot be read as options ({reason}); check it.") from error
    kind = COMMANDS[name].config
    if "--trust" not in arguments and isinstance(values, dict):
        refuse_outside(values, str(path))
    elif "--trust" in arguments and "trust" not in {field.name for field in fields(kind)}:
        arguments.remove("--trust")  # it concerns the file alone
    return config.from_flat(kind, values, str(path))
