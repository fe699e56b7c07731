"""Runs: one arm with one seed, in its own folder that records how it was trained.

- `run.json`: key and options that determine the run, hash of the data, versions
- `config.yaml`: the options; `mfl train --config FOLDER/config.yaml` repeats the run
- `lock`: during training: locked by the process that trains the run, and identifies it
- `resume.ckpt`: during training: the state to resume from
- `failed.json`: why the run failed, until the next try (failed.txt: traceback, if unforeseen)
- `submitted.json`: the cluster's job for this run
- `encoder.json`: metadata needed to use the weights (`evaluation.metadata`)
- `weights.safetensors`: the trained weights with the same metadata; written last, then it is done
- `curve.csv`: learning curve, if requested
- `logs/`: every term, rate and diagnostic (CSV and TensorBoard)
- `features/`: representations of the frozen encoders
- `predictions-*`, `probe-*`: predictions of probes and the probes, bound to the weights by hash
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
from morefromless.identity import RECIPE_VERSION, Record, run_key, versions
from morefromless.locks import holder, is_locked, locked
from morefromless.specs import refuse_outside

State = Literal["done", "running", "failed", "begun", "waiting"]
"""State of a run on disk: `begun` was interrupted and can resume, `waiting` was never started."""

PLANNED_FILE = "planned.json"
"""File of a study with the folders of its runs, relative to the study's folder."""

FILES_BEFORE_RECORD = frozenset({"lock", "failed.json", "failed.txt", "submitted.json"})
"""Files that a run's folder may have before its run.json exists."""


class Run:
    """The folder of a run.

    A run that is not trusted, such as a downloaded one, must not name classes from outside the
    package, and its folder for features is ignored.
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
        """Create or open the run of these options and data; it may be new, interrupted or done.

        Raises `ConfigError` if `config.out` holds another run, or one that cannot be identified.
        """
        run = cls(config.out)
        options, key = to_flat(config), run_key(config, store_hash)
        store = os.path.relpath(config.store, run.path)
        # The folder is listed first, because another process may begin this run too.
        with files.raising_storage_errors(run.record_path):
            existing = {path.name for path in run.path.iterdir()} if run.path.exists() else set()
        if run.record_path.exists():
            if run.record.key != key:
                differing = run.record.difference(options, store_hash)
                raise ConfigError(
                    f"{run.path} holds another run ({differing}); give another --out, or remove "
                    "that folder."
                )
            if not run.done and run.record.options.get("store") != store:  # run or store was moved
                run._write(replace(run.record, options={**run.record.options, "store": store}))
        else:
            run._refuse_others(existing)
            run._write(
                Record(
                    key=key,
                    recipe=RECIPE_VERSION,
                    options={**options, "store": store},
                    store_hash=store_hash,
                    versions=versions(),
                )
            )
        if not run.config_path.exists():  # after run.json, which claims the folder
            files.write_text(run.config_path, yaml.safe_dump(options, sort_keys=False))
        return run

    @classmethod
    def open(cls, path: Path | str, trust: bool = False) -> "Run":
        """Open a finished run. Raises `ConfigError` if there is none."""
        run = cls(path, trust)
        if not run.record_path.is_file():
            raise run._no_run_error()
        if not run.done:
            raise ConfigError(
                f"The run in {path} is not finished; run its command again to resume it."
            )
        return run

    def _no_run_error(self) -> ConfigError:
        return ConfigError(
            f"{self.path} holds no run (run.json is missing); {missing_run_remedy(self.path)}."
        )

    @property
    def record(self) -> Record:
        """The contents of run.json. Raises `ConfigError` if the file is missing or damaged."""
        try:
            return read_json(self.record_path, Record)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._no_run_error() from error
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self.record_path} is damaged ({error}); remove that folder and run again."
            ) from error

    def _write(self, record: Record) -> None:
        files.write_json(self.record_path, record)

    @property
    def config(self) -> RunConfig:
        """The run's options, with `out` and `store` resolved to where they are now."""
        options = {**self.record.options, "out": str(self.path)}
        if isinstance(options.get("store"), str):
            options["store"] = os.path.normpath(self.path / options["store"])
        if not self.trust:
            refuse_outside(options, str(self.record_path))
            options["features"] = None  # do not write to a folder that its author chose
        return from_flat(RunConfig, options, str(self.record_path))

    @property
    def done(self) -> bool:
        return self.weights_path.is_file() and self.record_path.is_file()

    @property
    def state(self) -> State:
        """The run's state, from the disk only; another process may change it at any time."""
        if self.done:
            return "done"
        if is_locked(self.lock_path):
            return "running"
        if self.failed_path.is_file():
            return "failed"
        return "begun" if self.record_path.is_file() else "waiting"

    @property
    def failure(self) -> str | None:
        """Why the run failed; None if it did not fail, or is being tried again."""
        try:
            return str(read_json(self.failed_path, dict)["reason"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return f"{self.failed_path} cannot be read."

    @property
    def trainer(self) -> str:
        """The process that trains the run, or that did so last."""
        return holder(self.lock_path)

    @contextmanager
    def training(self, is_leader: bool = True) -> Iterator[None]:
        """Lock the run while the block trains it; a finished run is not locked.

        If several processes train one run together, only the leader locks it. An exception is
        recorded (`fail`) and raised again. Raises `RunBusy` if another process trains the run. That
        process may just have finished it, so check `done` in the block.
        """
        if self.done or not is_leader:
            yield
            return
        with locked(self.lock_path) as acquired:
            if acquired is False:
                raise RunBusy(
                    f"{self.path} is being trained by {self.trainer}; wait for it, or stop that "
                    "process and run the command again."
                )
            if not self.done:
                self._remove_leftovers(exclusive=bool(acquired))
            try:
                yield
            except Exception as error:
                self.fail(error)
                raise

    def fail(self, error: Exception | str) -> None:
        """Record why the run failed; errors while writing are ignored."""
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

    def clear_failure(self) -> None:
        """Remove the record of a failure before the run is tried again."""
        for path in (self.failed_path, self.path / "failed.txt"):
            path.unlink(missing_ok=True)

    def resumable_checkpoint(self) -> Path | None:
        """Return the checkpoint to resume from, or None. A damaged checkpoint is renamed."""
        damaged = self.checkpoint.with_name("resume.ckpt.damaged")
        try:
            if _is_intact(self.checkpoint):
                return self.checkpoint
            self.checkpoint.replace(damaged)
        except FileNotFoundError:  # or renamed by another process of this run
            return None
        progress.warn(
            f"{self.checkpoint} is damaged; it was renamed to {damaged.name}, and the run restarts "
            "from the beginning."
        )
        return None

    def finish(
        self, weights: Mapping[str, Tensor], facts: Mapping[str, Any], encoder: Mapping[str, Any]
    ) -> None:
        """Write the metadata of the `encoder` (`evaluation.metadata`), then the weights and `facts`
        (seconds, steps, device ...), then remove the checkpoint."""
        files.write_json(self.encoder_path, encoder)
        with files.replacing(self.weights_path) as temporary:
            contiguous = {k: v.detach().cpu().contiguous() for k, v in weights.items()}
            save_file(contiguous, temporary, {ENCODER_KEY: json.dumps(encoder)})
            complete_facts = {**facts, "weights": file_hash(temporary)}
            self._write(replace(self.record, facts=complete_facts))
        self.checkpoint.unlink(missing_ok=True)

    @property
    def fingerprint(self) -> str:
        """Hash of the trained weights; files that are computed from the weights refer to it."""
        return str(self.record.facts.get("weights", ""))

    def weights(self) -> dict[str, Tensor]:
        """Load the trained weights. Raises `TrainingError` if they are damaged or belong to another
        run."""
        if file_hash(self.weights_path) != self.fingerprint:
            raise TrainingError(
                f"{self.weights_path} is damaged, or belongs to another run; remove it to train "
                "again."
            )
        try:
            return load_file(self.weights_path)
        except SafetensorError as error:
            raise TrainingError(
                f"{self.weights_path} is damaged ({error}); remove it to train the run again."
            ) from error

    def sweep(self, min_age: float = files.STALE_SECONDS) -> None:
        """Remove partial files of killed processes (`files.sweep`)."""
        for folder in (self.path, self.path / "features"):
            files.sweep(folder, min_age)

    def _remove_leftovers(self, exclusive: bool) -> None:
        """Remove files of earlier tries; `exclusive` is true if surely no other process trains the
        run."""
        self.clear_failure()
        self.sweep(0 if exclusive else files.STALE_SECONDS)
        # Predictions from missing weights must not be used for the next weights.
        kinds = ("predictions-*", "probe-*")
        evaluation_files = [path for kind in kinds for path in self.path.glob(kind)]
        record = self.record
        if evaluation_files or ("seconds" in record.facts and not self.checkpoint.is_file()):
            progress.warn(
                f"{self.path} was trained but has no weights: they were removed, or the run was "
                "killed while writing them. Files computed from them are removed, and the run "
                "restarts from the beginning."
            )
            shutil.rmtree(self.path / "features", ignore_errors=True)
            for path in evaluation_files:
                path.unlink(missing_ok=True)
            self._write(replace(record, facts={}))

    def _refuse_others(self, names: set[str]) -> None:
        """Raise `ConfigError` if a folder without run.json contains files of other programs or
        runs."""
        others = {name for name in names - FILES_BEFORE_RECORD if not name.endswith(".partial")}
        if others & {self.config_path.name, self.checkpoint.name, self.weights_path.name}:
            raise ConfigError(
                f"{self.path} has lost its run.json, so it is unknown what the run was trained on; "
                "remove that folder and run again, or give another --out."
            )
        if others:
            raise ConfigError(f"{self.path} is not empty and holds no run; give another --out.")


def missing_run_remedy(path: Path) -> str:
    """Return what to do if a folder holds no run; it may be a study's folder."""
    return f"give a run in {path / 'runs'}" if (path / "runs").is_dir() else "check the path"


def missing_results_remedy(folder: Path, writers: str = "mfl compare") -> str:
    """Return what to do if a folder has no results. `mfl compare` writes them when its runs are
    done; the function `morefromless.compare` does not write them.

    >>> missing_results_remedy(Path("nowhere"))
    'give a folder that mfl compare wrote'
    """
    if (folder / PLANNED_FILE).is_file() or (folder / "runs").is_dir():
        return "mfl compare has not written them yet: run it again to resume"
    return f"give a folder that {writers} wrote"


def failure_reason(error: Exception) -> str:
    """Return why a run failed: the message of a known error, or the first line of an unforeseen
    one."""
    if isinstance(error, MoreFromLessError):
        return str(error)
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def _is_intact(checkpoint: Path) -> bool:
    """Whether a checkpoint, which is a ZIP archive, is complete and undamaged."""
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is None
    except OSError:
        raise
    except Exception:  # zipfile raises many types for damaged files
        return False
