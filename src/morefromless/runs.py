"""Runs: one arm with one seed, in a folder of its own that says what it was made from.

- `run.json`: what determines it (its key and options), on which data, by which versions
- `config.yaml`: the options; `mfl train --config FOLDER/config.yaml` runs it again
- `lock`: while it trains: held by the process that trains it, and says which
- `resume.ckpt`: while it trains: the state to go on from
- `failed.json`: why it failed, until it is tried again (failed.txt: where, if unforeseen)
- `submitted.json`: the cluster's job that was to train it
- `encoder.json`: what must be known of the weights to use them (`evaluation.metadata`)
- `weights.safetensors`: the trained weights, which hold the same; written last: then it is done
- `curve.csv`: learning curve, where one was asked for
- `logs/`: every term, rate and diagnostic (CSV and TensorBoard)
- `features/`: representations of the frozen encoders
- `predictions-*`, `probe-*`: what probes answered, bound to the weights
"""

import json
import os
import shutil
import socket
import traceback
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from morefromless import files, progress
from morefromless.config import RunConfig, from_flat, to_flat
from morefromless.documents import read_json
from morefromless.encoders import ENCODER_KEY
from morefromless.errors import (
    ConfigError,
    DataError,
    MoreFromLessError,
    RunBusy,
    TrainingError,
    first_line,
)
from morefromless.files import file_hash, now
from morefromless.identity import RECIPE, Record, run_key, versions
from morefromless.locks import holder, is_locked, locked
from morefromless.specs import refuse_outside

State = Literal["done", "running", "failed", "begun", "waiting"]
"""Of a run on disk: `begun` was interrupted and goes on from there, `waiting` was never begun."""

BEFORE_RECORD = frozenset({"lock", "failed.json", "failed.txt", "submitted.json"})
"""What may lie in a run's folder before its run.json does."""


class Run:
    """A run's folder.

    A run that is not trusted, as one from elsewhere, may name no class from outside the package,
    and no folder for features.
    """

    def __init__(self, path: Path | str, trust: bool = True) -> None:
        self.path, self.trust = Path(path), trust
        self.record_path = self.path / "run.json"
        self.config_path = self.path / "config.yaml"
        self.lock_path = self.path / "lock"
        self.failed_path = self.path / "failed.json"
        self.checkpoint = self.path / "resume.ckpt"
        self.weights_path = self.path / "weights.safetensors"
        self.encoder_path = self.path / "encoder.json"

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.state})"

    @classmethod
    def begin(cls, config: RunConfig, store_hash: str) -> "Run":
        """The run that these options train on these data: new, interrupted or done.

        Raises `ConfigError` where `config.out` holds another run, or one that cannot be told.
        """
        run = cls(config.out)
        options, key = to_flat(config), run_key(config, store_hash)
        store = os.path.relpath(config.store, run.path)
        with files.explaining(run.record_path):  # first, as another process may begin the same run
            existing = {path.name for path in run.path.iterdir()} if run.path.exists() else set()
        if run.record_path.exists():
            if run.record.key != key:
                differing = run.record.difference(options, store_hash)
                raise ConfigError(
                    f"{run.path} holds another run ({differing}); give another --out, or remove it."
                )
            if not run.done and run.record.options.get("store") != store:  # one of them has moved
                run._write(replace(run.record, options={**run.record.options, "store": store}))
        else:
            run._refuse_others(existing)
            run._write(
                Record(
                    key=key,
                    recipe=RECIPE,
                    options={**options, "store": store},
                    store_hash=store_hash,
                    versions=versions(),
                )
            )
        if not run.config_path.exists():  # after run.json, which makes the folder ours
            files.write_text(run.config_path, yaml.safe_dump(options, sort_keys=False))
        return run

    @classmethod
    def open(cls, path: Path | str, trust: bool = False) -> "Run":
        """A run that is done. Raises `ConfigError` where there is none."""
        run = cls(path, trust)
        if not run.record_path.is_file():
            raise run._absent()
        if not run.done:
            raise ConfigError(
                f"The run in {path} is not finished; run its command again and it goes on."
            )
        return run

    def _absent(self) -> ConfigError:
        return ConfigError(f"{self.path} holds no run (run.json is missing); {remedy(self.path)}.")

    @property
    def record(self) -> Record:
        """What determines it, and what is known of it since. Raises `ConfigError` where there is
        none, or it is damaged."""
        try:
            return read_json(self.record_path, Record)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._absent() from error
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self.record_path} is damaged ({error}); remove that folder and run again."
            ) from error

    def _write(self, record: Record) -> None:
        files.write_json(self.record_path, record)

    @property
    def config(self) -> RunConfig:
        """Its options; `out` is where the folder lies now, and `store` where it is from there."""
        options = {**self.record.options, "out": str(self.path)}
        if isinstance(options.get("store"), str):
            options["store"] = os.path.normpath(self.path / options["store"])
        if not self.trust:
            refuse_outside(options, str(self.record_path))
            options["features"] = None  # a place that its maker chose is not written to
        return from_flat(RunConfig, options, str(self.record_path))

    @property
    def done(self) -> bool:
        return self.weights_path.is_file() and self.record_path.is_file()

    @property
    def state(self) -> State:
        """What became of it so far, from the disk alone; another process may change it any time."""
        if self.done:
            return "done"
        if is_locked(self.lock_path):
            return "running"
        if self.failed_path.is_file():
            return "failed"
        return "begun" if self.record_path.is_file() else "waiting"

    @property
    def failure(self) -> str | None:
        """Why it failed; None where it did not, or is tried again."""
        try:
            return str(read_json(self.failed_path, dict)["reason"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return f"{self.failed_path} cannot be read."

    @property
    def trainer(self) -> str:
        """Which process trains it, or did so last."""
        return holder(self.lock_path)

    @contextmanager
    def training(self, is_leader: bool = True) -> Iterator[None]:
        """Keep the run from other processes while the block trains it; one that is done stays free.

        Of several processes that train one run together, only the leader does this. An
        exception is recorded (`fail`) and goes on. Raises `RunBusy` where another process trains
        it; that one may just have finished it, so look at `done` in the block.
        """
        if self.done or not is_leader:
            yield
            return
        with locked(self.lock_path) as held:
            if held is False:
                raise RunBusy(
                    f"{self.path} is being trained by {self.trainer}; wait for it, or stop that "
                    "process and run the command again."
                )
            if not self.done:
                self._tidy(alone=bool(held))
            try:
                yield
            except Exception as error:
                self.fail(error)
                raise

    def fail(self, error: Exception | str) -> None:
        """Record why it failed; where not even that can be written, it is not."""
        with suppress(OSError, DataError):
            files.write_json(
                self.failed_path,
                {
                    "reason": error if isinstance(error, str) else failure_reason(error),
                    "when": now(),
                    "host": socket.gethostname(),
                },
            )
            if isinstance(error, Exception) and not isinstance(error, MoreFromLessError):
                trace = "".join(traceback.format_exception(error))
                files.write_text(self.path / "failed.txt", trace)

    def forgive(self) -> None:
        """Forget that it failed: it is tried again."""
        for path in (self.failed_path, self.path / "failed.txt"):
            path.unlink(missing_ok=True)

    def resumable(self) -> Path | None:
        """The checkpoint to go on from; None where there is none, or a damaged one, which is set
        aside."""
        aside = self.checkpoint.with_name("resume.ckpt.damaged")
        try:
            if _sound(self.checkpoint):
                return self.checkpoint
            self.checkpoint.replace(aside)
        except FileNotFoundError:  # or set aside by another process that trains it with us
            return None
        progress.warn(
            f"{self.checkpoint} is damaged; it is now {aside.name}, and the run starts anew."
        )
        return None

    def finish(
        self, weights: Mapping[str, Tensor], facts: Mapping[str, Any], encoder: Mapping[str, Any]
    ) -> None:
        """Record `facts` (seconds, steps, device ...), what must be known of the `encoder`
        (`evaluation.metadata`), then the weights, then tidy up."""
        files.write_json(self.encoder_path, encoder)
        with files.replacing(self.weights_path) as temporary:
            contiguous = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
            save_file(contiguous, temporary, {ENCODER_KEY: json.dumps(encoder)})
            bound = {**facts, "weights": file_hash(temporary)}
            self._write(replace(self.record, facts=bound))
        self.checkpoint.unlink(missing_ok=True)

    @property
    def fingerprint(self) -> str:
        """Hash of the weights that were trained; what is computed from them is bound to it."""
        return str(self.record.facts.get("weights", ""))

    def weights(self) -> dict[str, Tensor]:
        """The trained weights. Raises `TrainingError` where they are damaged or of another run."""
        if file_hash(self.weights_path) != self.fingerprint:
            raise TrainingError(
                f"{self.weights_path} is damaged, or of another run; remove it to train again."
            )
        try:
            return load_file(self.weights_path)
        except SafetensorError as error:
            raise TrainingError(
                f"{self.weights_path} is damaged ({error}); remove it to train the run again."
            ) from error

    def sweep(self, older: float = files.HOUR) -> None:
        """Remove what killed processes left half-written (`files.sweep`)."""
        for folder in (self.path, self.path / "features"):
            files.sweep(folder, older)

    def _tidy(self, alone: bool) -> None:
        """Remove what earlier tries left, before a new one that is, for sure, `alone` or not."""
        self.forgive()
        self.sweep(0 if alone else files.HOUR)
        # What was computed from weights that are gone must not answer for the next ones.
        kinds = ("predictions-*", "probe-*")
        answers = [path for kind in kinds for path in self.path.glob(kind)]
        record = self.record
        if answers or ("seconds" in record.facts and not self.checkpoint.is_file()):
            progress.warn(
                f"{self.path} was trained and has no weights: they were removed, or it was ended "
                "as it wrote them. What was computed from them is removed; the run starts anew."
            )
            shutil.rmtree(self.path / "features", ignore_errors=True)
            for path in answers:
                path.unlink(missing_ok=True)
            self._write(replace(record, facts={}))

    def _refuse_others(self, names: set[str]) -> None:
        """Raise `ConfigError` where a folder without run.json holds anything that is not ours."""
        others = {name for name in names - BEFORE_RECORD if not name.endswith(".partial")}
        if others & {self.config_path.name, self.checkpoint.name, self.weights_path.name}:
            raise ConfigError(
                f"{self.path} has lost its run.json, so what it was trained on is not known; "
                "remove that folder and run again, or give another --out."
            )
        if others:
            raise ConfigError(f"{self.path} is not empty and holds no run; give another --out.")


def remedy(path: Path) -> str:
    """What to do where a folder holds no run: it may be a study's."""
    return f"give one of those in {path / 'runs'}" if (path / "runs").is_dir() else "check the path"


def unwritten(folder: Path, writers: str = "mfl compare") -> str:
    """What to do where a folder has no results: a study's command writes them when its runs are
    done, and `morefromless.compare` leaves that to who called it.

    >>> unwritten(Path("nowhere"))
    'give a folder that mfl compare wrote'
    """
    if (folder / "runs").is_dir():
        return "its mfl compare has not written them yet: run it again and it goes on"
    return f"give a folder that {writers} wrote"


def failure_reason(error: Exception) -> str:
    """Why a run failed: an error's own sentence, or the first line of one that was not foreseen."""
    if isinstance(error, MoreFromLessError):
        return str(error)
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def _sound(checkpoint: Path) -> bool:
    """Whether a checkpoint, which is a ZIP archive, is complete and as it was written."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except OSError:
        raise
    except Exception:  # of zipfile's own and of its parsers', all for the same reason
        return False
