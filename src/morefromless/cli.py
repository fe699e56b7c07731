"""The command line, made from the options' dataclasses.

Every command answers a mistake of its user's with one sentence on standard error and exit code 2.
"""

import errno
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Union, cast

import tyro
import yaml

from morefromless import commands, options
from morefromless.errors import ConfigError, MoreFromLessError

WHAT = """Train an encoder for routine, information-sparse histology images so that it knows what
information-dense data of the same tissue know, and find out what that bought.

mfl ingest FOLDER STORE, then mfl views STORE, then mfl compare STORE is the whole of it; mfl demo
runs it on synthetic tissue. mfl COMMAND --help explains each."""


@dataclass(frozen=True)
class Command:
    """What a word after `mfl` does."""

    options: type
    carry_out: Callable[[Any], None]
    what: str


PATHS = ("store", "out", "run", "run_a", "run_b", "comparison", "nuclei", "weights")
"""Options that are paths, for files of options, which hold them as text."""

COMMANDS = {
    "ingest": Command(
        options.IngestOptions,
        commands.ingest,
        "Decode a source once into a store. Interrupted, the same command goes on where it was.",
    ),
    "segment": Command(
        options.SegmentOptions,
        commands.segment,
        "Segment the nuclei of every patch with HoVer-Net (extra nuclei), for mfl ingest --nuclei.",
    ),
    "views": Command(
        options.ViewsOptions,
        commands.views,
        "Write a contact sheet: patches, what each branch sees of them, and their views.",
    ),
    "export": Command(
        options.ExportOptions,
        commands.export,
        "Write a store's nuclei as GeoJSON files for QuPath, one a patch.",
    ),
    "compare": Command(
        options.CompareOptions,
        commands.compare,
        "Train and evaluate every arm with several seeds; write the table and the figures. What is "
        "done already is not done again.",
    ),
    "transfer": Command(
        options.TransferOptions,
        commands.transfer,
        "Train every encoder of two modalities, paired and by itself, self-supervised and "
        "supervised, and ask each every task, frozen: the paper's Table 2.",
    ),
    "pretrain": Command(
        options.PretrainOptions,
        commands.pretrain,
        "Train one self-supervised arm with one seed. --config RUN/config.yaml repeats a run.",
    ),
    "supervise": Command(
        options.SuperviseOptions,
        commands.supervise,
        "Train the supervised arm with one seed, by the same protocol.",
    ),
    "probe": Command(
        options.ProbeRunOptions,
        commands.probe,
        "Evaluate a finished run: each branch, frozen, on its own modality.",
    ),
    "explain": Command(
        options.ExplainOptions,
        commands.explain,
        "Hold two runs against each other: one HTML page with confusion matrices, CKA, a map of "
        "the features, and every test patch on which they disagree, with where each looks.",
    ),
    "represent": Command(
        options.RepresentOptions,
        commands.represent,
        "Compare what the arms of a finished comparison represent: CKA over all combinations of "
        "their runs and untrained ones, GradCAMs, confusion matrices (the paper's Fig. 2, 3, S4, "
        "S5).",
    ),
    "reproduce": Command(
        options.ReproduceOptions,
        commands.reproduce,
        "Carry out the paper's tables and figures on your store, at a scale; --plan says what that "
        "takes. Interrupted, the same command goes on where it was.",
    ),
    "status": Command(
        options.StatusOptions,
        commands.status,
        "Say which runs are done, running, failed (and why) or waiting, here or on a cluster.",
    ),
    "report": Command(
        options.ReportOptions,
        commands.report,
        "Write the report of a reproduction from what lies in its folder: one HTML page, and its "
        "Markdown, with our numbers beside the published ones.",
    ),
    "demo": Command(
        options.DemoOptions,
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
    named = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    try:
        chosen = _parsed(list(arguments), named)
        next(c for c in COMMANDS.values() if c.options is type(chosen)).carry_out(chosen)
    except MoreFromLessError as error:
        return _said(named, str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        return _said(
            named,
            f"{error.filename or 'The output folder'} cannot be written ({error.strerror}); free "
            "some space or give another folder, then run the command again: it goes on.",
        )
    except KeyboardInterrupt:
        _said(named, "Interrupted; the same command goes on where it was.")
        return 130
    return 0


def _said(command: str, sentence: str) -> int:
    print(f"mfl {command}: {sentence}", file=sys.stderr)
    return 2


def _parsed(arguments: list[str], named: str) -> Any:
    """The options dataclass that the arguments describe; tyro answers mistakes and --help."""
    defaults = _from_file(arguments, named)
    kinds = tuple(
        Annotated[
            command.options,
            tyro.conf.subcommand(
                name,
                description=command.what,
                **({"default": defaults} if name == named and defaults else {}),
            ),
        ]
        for name, command in COMMANDS.items()
    )
    return tyro.cli(
        cast(type[Any], Union[kinds]),  # noqa: UP007 - made at run time
        prog="mfl",
        description=WHAT,
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
    )


def _from_file(arguments: list[str], named: str) -> Any:
    """Options of `--config FILE`, which is taken out of the arguments; None without one."""
    if "--config" not in arguments or not named:
        return None
    at = arguments.index("--config")
    if at + 1 == len(arguments):
        raise ConfigError("--config needs a file, such as the config.yaml of a run.")
    path = Path(arguments[at + 1])
    del arguments[at : at + 2]
    kind = COMMANDS[named].options
    try:
        values = yaml.safe_load(path.read_text())
        known = {field.name: field for field in fields(kind)}
        unknown = [key for key in values if key not in known]
    except (OSError, yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as options ({error}); check the file.") from error
    if unknown:
        raise ConfigError(f"{path} has no option '{unknown[0]}' of mfl {named}; remove it.")
    made = {
        key: Path(value)
        if key in PATHS and value is not None
        else tuple(value)
        if isinstance(value, list)
        else value
        for key, value in values.items()
    }
    try:
        return kind(**made)
    except TypeError as error:
        raise ConfigError(f"{path} lacks an option of mfl {named} ({error}).") from error
