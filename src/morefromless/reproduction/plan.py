"""The plan of a reproduction: every run that its experiments want, each once."""

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

import morefromless
from morefromless import experiments
from morefromless.comparison import compare, transfer
from morefromless.comparison.compare import Comparison
from morefromless.comparison.plan import Trained
from morefromless.comparison.transfer import Transfer
from morefromless.data import atomic
from morefromless.data.lock import now
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.experiments import SCALES, Experiment, Setting, Study, known
from morefromless.ingest import ingest, open_source
from morefromless.options import INCIDENTAL, CompareOptions, ReproduceOptions
from morefromless.runs import Run, plain
from morefromless.specs import build

SMOKE = "synthetic:patches=270,patients=18,size=32"
"""Tissue of the smallest scale, with nuclei."""


class Planned(Protocol):
    """A run that is wanted, and the options that train it."""

    @property
    def options(self) -> Trained: ...

    @property
    def run(self) -> Run: ...


class Prepared(Protocol):
    """A study that can work."""

    @property
    def planned(self) -> list[Any]: ...

    def finish(self) -> Comparison | Transfer: ...


@dataclass(frozen=True, eq=False)
class Wanted:
    """An experiment and its studies."""

    name: str
    experiment: Experiment
    studies: dict[str, Prepared]

    @property
    def runs(self) -> list[Planned]:
        """Each once, in the order of the studies."""
        every = [one for study in self.studies.values() for one in study.planned]
        return list({one.run.path: one for one in every}.values())

    @property
    def done(self) -> bool:
        return all(one.run.done for one in self.runs)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a reproduction will do."""

    options: ReproduceOptions
    setting: Setting
    wanted: list[Wanted]
    skipped: dict[str, str] = field(default_factory=dict)
    """Experiments that this store cannot pose, and why."""

    @property
    def runs(self) -> list[Planned]:
        """Every run, each once: shared between experiments, and those of early seeds first."""
        every = {one.run.path: one for wanted in self.wanted for one in wanted.runs}
        return sorted(every.values(), key=lambda one: one.options.seed)

    @property
    def path(self) -> Path:
        return self.options.out / "plan.json"

    def save(self) -> None:
        """Write what `mfl status` and `mfl report` read; experiments of earlier commands stay.

        Raises `ConfigError` where the folder holds a reproduction of other data or settings.
        """
        store = self.setting.store
        before = self._before()
        atomic.write_json(
            self.path,
            {
                "options": plain(self.options),
                "scale": self.setting.scale,
                "about": SCALES[self.setting.scale].about,
                "protocol": self.setting.protocol,
                "recipe": self._recipe,
                "sides": list(self.setting.sides),
                "seeds": self._seeds,
                "store": {
                    "path": str(store.path),
                    "hash": store.hash,
                    "side": store.side,
                    "title": store.meta["datasheet"]["title"],
                    "um_per_px": store.um_per_px,
                    "classes": list(store.classes),
                    "kept": store.meta["kept"],
                    "caveats": store.caveats,
                },
                "experiments": before
                | {one.name: [run.run.path.name for run in one.runs] for one in self.wanted},
                "skipped": self.skipped,
                "versions": {
                    "morefromless": morefromless.__version__,
                    "torch": torch.__version__,
                    "python": platform.python_version(),
                },
                "machine": machine(),
                "when": now(),
            },
        )

    @property
    def _recipe(self) -> dict[str, Any]:
        """What all runs have in common and has a bearing on their numbers."""
        passing = INCIDENTAL | {"jobs", "seeds"}
        return {k: v for k, v in self.setting.recipe.items() if k not in passing}

    @property
    def _seeds(self) -> int:
        return int(self.setting.recipe["seeds"])

    def _before(self) -> dict[str, list[str]]:
        """Experiments that the folder holds already."""
        if not self.path.is_file():
            return {}
        try:
            told = json.loads(self.path.read_text())
            held = {
                "data": told["store"]["hash"],
                "protocol": told["protocol"],
                **told["recipe"],
                "sides": told["sides"],
            }
            seeds = int(told["seeds"])
            earlier: dict[str, list[str]] = told["experiments"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self.path} is damaged; remove that file, and the runs are found again."
            ) from error
        if self._seeds < seeds:
            raise ConfigError(
                f"{self.options.out} holds a reproduction with {seeds} seeds, whose "
                f"tables {self._seeds} would overwrite; give another --out."
            )
        ours = {
            "data": self.setting.store.hash,
            "protocol": self.setting.protocol,
            **self._recipe,
            "sides": list(self.setting.sides),
        }
        for name in dict.fromkeys((*held, *ours)):
            if held.get(name) != ours.get(name):
                raise ConfigError(
                    f"{self.options.out} holds a reproduction with {name} {held.get(name)}, not "
                    f"{ours.get(name)}; give another --out, and its runs stay as they are."
                )
        return earlier


def plan(options: ReproduceOptions) -> Plan:
    """Check every study of the experiments that are asked for; train nothing.

    Raises `ConfigError` or `DataError` where one cannot work; of `all`, those that ask for what
    the store does not hold are left out, and named.
    """
    store = _store(options)
    setting = Setting.of(options, store)
    wanted, skipped = [], {}
    for name in _names(options):
        experiment = build(name, experiments, Experiment)
        lacks = _lacks(experiment, setting)
        if lacks and "all" in options.experiments:
            skipped[name] = lacks
        elif lacks:
            raise DataError(f"{name} cannot be asked of {store.path}: {lacks}")
        else:
            studies = {s: _prepared(how) for s, how in experiment.studies(setting).items()}
            wanted.append(Wanted(name, experiment, studies))
    return Plan(options, setting, wanted, skipped)


def machine() -> dict[str, Any]:
    """What the runs are trained on."""
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {"processor": _processor(), "cores": len(os.sched_getaffinity(0)), "gpus": gpus}


def _names(options: ReproduceOptions) -> Iterator[str]:
    if not options.experiments:
        raise ConfigError(f"Name an experiment ({', '.join(known())}), or all.")
    yield from known() if "all" in options.experiments else dict.fromkeys(options.experiments)


def _store(options: ReproduceOptions) -> Store:
    if options.store is not None:
        return Store.open(options.store)
    if options.scale != "smoke":
        raise ConfigError(
            f"--scale {options.scale} needs patches; give --store STORE, made with mfl ingest."
        )
    path = options.out / "store"
    ingest(open_source(SMOKE), path, progress=False)
    return Store.open(path)


def _lacks(experiment: Experiment, setting: Setting) -> str | None:
    if "tissue" in experiment.needs and "tissue" not in setting.tasks:
        return "its patches are all of one class; ingest it with classes of tissue."
    if "nuclei" in experiment.needs and setting.masks is None:
        return "it holds no nuclei; ingest again with --nuclei (docs/nuclei.md)."
    return None


def _prepared(study: Study) -> Prepared:
    if isinstance(study, CompareOptions):
        return compare.prepare(study)
    return transfer.prepare(study)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
