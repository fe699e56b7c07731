"""The command line, made from the options' dataclasses.

Every command answers a mistake of its user's with one sentence on standard error and exit code 2.
"""

import codecs
import difflib
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Union, cast

import tyro

from morefromless import config, files, progress
from morefromless.commands import encoders, patches, studies
from morefromless.documents import parse_yaml
from morefromless.errors import ConfigError, MoreFromLessError, explain_os_error, one_line
from morefromless.specs import refuse_outside

WHAT = """Train an encoder for routine, information-sparse histology images so that it knows what
information-dense data of the same tissue know, and find out what that bought.

mfl ingest FOLDER STORE, then mfl views STORE, then mfl compare STORE is the whole of it; mfl demo
runs it on synthetic tissue. mfl COMMAND --help explains each.

With --quiet a command shows no progress; with --json each line of it is an object. --config FILE
takes a command's options from a file, such as the config.yaml of a run."""


@dataclass(frozen=True)
class Command:
    """What a word after `mfl` does."""

    config: type
    function: Callable[[Any], None]
    summary: str
    example: str = ""


COMMANDS = {
    "ingest": Command(
        config.IngestConfig,
        patches.ingest,
        "Decode a source once into a store. Interrupted, the same command goes on where it was.",
        "mfl ingest path/to/patches stores/mine --group '(P\\d+)_'",
    ),
    "tile": Command(
        config.TileConfig,
        patches.tile,
        "Cut whole slides into a store of tiles of tissue, at one magnification or two (extra "
        "slides). Interrupted, the same command goes on where it was.",
        "mfl tile slides stores/tiles --mpp 0.5 --low-power 2",
    ),
    "fetch": Command(
        config.FetchConfig,
        patches.fetch,
        "Fetch a public data set by its name, with what must be known of it; without a name, list "
        "them. Interrupted, the same command goes on where it was.",
        "mfl fetch crc-val-he-7k data",
    ),
    "segment": Command(
        config.SegmentConfig,
        patches.segment,
        "Segment the nuclei of every patch with HoVer-Net (extra nuclei), for mfl ingest --nuclei.",
        "mfl segment path/to/patches masks --um-per-px 0.5",
    ),
    "hold-out": Command(
        config.HoldOutConfig,
        patches.hold_out,
        "Write a store of the training patches alone, part of which stand in test, to choose "
        "settings by.",
        "mfl hold-out stores/mine stores/mine-hold-out",
    ),
    "publish": Command(
        config.PublishConfig,
        patches.publish,
        "Write a store to S3-compatible storage or another file system, in shards from "
        "which it can be streamed. Interrupted, the same command goes on where it was.",
        "mfl publish stores/mine s3://bucket/mine",
    ),
    "stream": Command(
        config.StreamConfig,
        patches.stream,
        "Write a store whose patches stay where they were published and are fetched as they are "
        "read: for those that are larger than the disk.",
        "mfl stream s3://bucket/mine stores/mine --cache-gb 20",
    ),
    "views": Command(
        config.ViewsConfig,
        patches.views,
        "Write a contact sheet: patches, what each branch is given of them, and augmented views; "
        "below each view stands what was drawn.",
        "mfl views stores/mine --primary downsample:7",
    ),
    "export-nuclei": Command(
        config.ExportNucleiConfig,
        patches.export_nuclei,
        "Write a store's nuclei as GeoJSON files for QuPath, one an image.",
        "mfl export-nuclei stores/mine nuclei",
    ),
    "compare": Command(
        config.StudyConfig,
        studies.compare,
        "Train every arm with several seeds, ask each encoder every task, frozen, and write tables "
        "and figures. What is done already is not done again. With --both-ways, two modalities "
        "teach each other, as in the paper's Table 2.",
        "mfl compare stores/mine --primary downsample:7 --privileged full --seeds 3",
    ),
    "train": Command(
        config.RunConfig,
        studies.train,
        "Train one arm with one seed. --config RUN/config.yaml repeats a run.",
        "mfl train stores/mine --out runs/a --kind asymmetric --primary downsample:7",
    ),
    "probe": Command(
        config.ProbeConfig,
        studies.probe,
        "Evaluate a finished run: each branch, frozen, on its own modality.",
        "mfl probe runs/a",
    ),
    "embed": Command(
        config.EmbedConfig,
        encoders.embed,
        "Write the features that an encoder has of your patches and slides.",
        "mfl embed runs/a path/to/patches biopsy.svs --to features.h5",
    ),
    "predict": Command(
        config.PredictConfig,
        encoders.predict,
        "Write the classes of your patches and slides: calibrated probabilities, and heat maps.",
        "mfl predict runs/a biopsy.svs --to predictions.csv --maps maps",
    ),
    "app": Command(
        config.AppConfig,
        encoders.app,
        "Serve a page to this computer's browser: drop a patch, and see what the encoder is given, "
        "its class, where it looks, and the nearest training patches.",
        "mfl app runs/a",
    ),
    "export": Command(
        config.ExportConfig,
        encoders.export,
        "Write an encoder for other tools: a folder for timm and the Hub, ONNX, torch.export.",
        "mfl export runs/a encoder --onnx",
    ),
    "validate": Command(
        config.ValidateConfig,
        studies.validate,
        "Ask the encoders of a finished study, or of one run, about another cohort, with probes of "
        "their own training patches: external validation.",
        "mfl validate runs/compare stores/other",
    ),
    "explain": Command(
        config.ExplainConfig,
        studies.explain,
        "Compare two runs with each other: one HTML page with confusion matrices, CKA, a map of "
        "the features, and every test patch on which they disagree, with where each looks.",
        "mfl explain runs/a runs/b --out explained",
    ),
    "represent": Command(
        config.RepresentConfig,
        studies.represent,
        "Compare what the arms of a finished study represent: CKA over all combinations of "
        "their runs and untrained ones, GradCAMs, confusion matrices (the paper's Fig. 2, 3, S4, "
        "S5).",
        "mfl represent runs/compare",
    ),
    "headroom": Command(
        config.HeadroomConfig,
        studies.headroom,
        "Say what a privileged view could buy, from frozen features of both views, without "
        "training: what it knows more, what of it the primary view predicts, and a forecast.",
        "mfl headroom stores/mine --primary downsample:7 --privileged full",
    ),
    "reproduce": Command(
        config.ReproduceConfig,
        studies.reproduce,
        "Carry out the paper's tables and figures on your store, at a scale; --plan says what that "
        "takes. Interrupted, the same command goes on where it was.",
        "mfl reproduce table1 --store stores/mine --plan",
    ),
    "status": Command(
        config.StatusConfig,
        studies.status,
        "Say which runs are done, running, failed (and why) or waiting, here or on a cluster.",
        "mfl status runs/compare",
    ),
    "report": Command(
        config.ReportConfig,
        studies.report,
        "Write the report of a reproduction, or of a comparison, from what lies in its folder: one "
        "HTML page, and its Markdown.",
        "mfl report runs/compare",
    ),
    "demo": Command(
        config.DemoConfig,
        studies.demo,
        "Run the main job on synthetic tissue whose answer is known: once where the privileged "
        "modality must help, once where it must not. One page shows what came of it.",
        "mfl demo --out runs/demo",
    ),
}


def main() -> None:
    """Entry point of `mfl`: exit code 0, 2 for what the user can mend, 130 where interrupted."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # it is closed, and the next file would take its number
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r+"))
    if os.environ.get("LC_ALL") in ("C", "POSIX"):  # Python itself would write UTF-8
        codecs.register_error("spell", lambda error: (_spelt(error), error.end))  # type: ignore[attr-defined]
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="ascii", errors="spell")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:]))


ASCII = {"µ": "u", "×": "x", "−": "-", "±": "+-", "†": "+", "→": "->", "Δ": "delta"}


def _spelt(error: Any) -> str:
    """Signs that a terminal without Unicode lacks, as one would type them."""
    return "".join(ASCII.get(sign, "?") for sign in error.object[error.start : error.end])


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line and return its exit code."""
    os.environ["MPLBACKEND"] = "Agg"  # figures are files; a notebook's backend may not be there
    arguments, mode = _mode([_at_home(word) for word in arguments])
    name = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    try:
        if arguments == ["--version"]:
            print(f"morefromless {version('morefromless')}")
            return 0
        _check_folder()
        options = _parse(arguments, name)
        with progress.shown_as(mode):
            next(c for c in COMMANDS.values() if c.config is type(options)).function(options)
        sys.stdout.flush()
    except MoreFromLessError as error:
        return _fail(name, str(error))
    except BrokenPipeError:  # who read our output has gone: nothing is left to say, or to whom
        _drop_output()
        return 141
    except OSError as error:
        _drop_output()
        return _fail(name, explain_os_error(error))
    except MemoryError:
        return _fail(
            name, "The memory is used up; give a smaller --batch, --jobs or --workers, and go on."
        )
    except KeyboardInterrupt:
        _fail(name, "Interrupted; the same command goes on where it was.")
        return 130
    return 0


def _drop_output() -> None:
    """Forget output that cannot be written, or Python tries again at its end, with a traceback."""
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
    """Raise `ConfigError` where this folder was removed: libraries end the process there."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise ConfigError(
            "The folder in which this runs was removed; change to another one (cd), and run again."
        ) from error


def _at_home(word: str) -> str:
    """A word with the user's folder for ~, which shells leave as it is after an equals sign."""
    return re.sub(r"(^|[=:])~(?=/|\Z)", lambda match: match[1] + str(Path.home()), word)


def _mode(arguments: list[str]) -> tuple[list[str], progress.Mode | None]:
    """The arguments without `--quiet` and `--json`, and which of them was there."""
    asked: progress.Mode | None = None
    if "--quiet" in arguments:
        asked = "quiet"
    elif "--json" in arguments:
        asked = "json"
    return [word for word in arguments if word not in ("--quiet", "--json")], asked


def _parse(arguments: list[str], name: str) -> Any:
    """The dataclass that the arguments describe; tyro answers mistakes and --help."""
    if arguments and not name and not arguments[0].startswith("-"):
        near = difflib.get_close_matches(arguments[0], COMMANDS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "mfl --help lists them."
        raise ConfigError(f"There is no command '{arguments[0]}'; {hint}")
    defaults = _from_file(arguments, name)
    if name:
        config.explain_options(COMMANDS[name].config)
    kinds = tuple(
        Annotated[
            command.config,
            tyro.conf.subcommand(
                word,
                description=_described(command) if word == name else command.summary,
                **({"default": defaults} if word == name and defaults else {}),
            ),
        ]
        for word, command in COMMANDS.items()
    )
    return tyro.cli(
        cast(type[Any], Union[kinds]),  # noqa: UP007 - built at run time
        prog="mfl",
        description=_wrapped(WHAT),
        args=arguments or ["--help"],
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def _described(command: Command) -> str:
    """What stands above a command's options."""
    return _wrapped(f"{command.summary}\n\nExample: {command.example}")


def _wrapped(text: str) -> str:
    """Paragraphs of at most the terminal's width, or of 100 columns, where lines read best.

    They are indented, because tyro joins lines that begin with a letter.
    """
    width = min(100, shutil.get_terminal_size().columns)
    return "\n\n".join(
        textwrap.fill(
            " ".join(paragraph.split()),
            width,
            initial_indent="  ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
        for paragraph in text.split("\n\n")
    )


def _from_file(arguments: list[str], name: str) -> Any:
    """Options of `--config FILE`, which is taken out of the arguments; None without one."""
    at = next((k for k, word in enumerate(arguments) if word.split("=")[0] == "--config"), None)
    if at is None or not name:
        return None
    _, equals, file = arguments.pop(at).partition("=")
    if not equals and at < len(arguments):
        file = arguments.pop(at)
    if not file:
        raise ConfigError("--config needs a file, such as the config.yaml of a run.")
    path = Path(file)
    try:
        values = parse_yaml(files.read_bytes(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path} cannot be read as options ({reason}); check it.") from error
    kind = COMMANDS[name].config
    if "--trust" not in arguments and isinstance(values, dict):
        refuse_outside(values, str(path))
    elif "--trust" in arguments and "trust" not in {field.name for field in fields(kind)}:
        arguments.remove("--trust")  # it concerns the file alone
    return config.from_flat(kind, values, str(path))
