"""Plan a reproduction: experiments, their studies and runs, checked before any training."""

from collections.abc import Iterator
from dataclasses import dataclass

from morefromless import experiments
from morefromless.config import ReproduceConfig, RunConfig
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.experiments import Experiment, Setting, experiment_names
from morefromless.ingest import ingest
from morefromless.runner import unique
from morefromless.specs import build
from morefromless.study import Study

SMOKE_SOURCE = "synthetic:patches=270,patients=18,size=32"
"""Synthetic source of the scale smoke, with nuclei."""


@dataclass(frozen=True, eq=False)
class PlannedExperiment:
    """An experiment and its studies."""

    name: str
    experiment: Experiment
    studies: dict[str, Study]

    @property
    def runs(self) -> list[RunConfig]:
        """All runs without repetition, in the order of the studies."""
        return unique(run for study in self.studies.values() for run in study.runs)

    @property
    def done(self) -> bool:
        return all(study.done for study in self.studies.values())


@dataclass(frozen=True, eq=False)
class Plan:
    """Experiments and runs of a reproduction."""

    setting: Setting
    experiments: list[PlannedExperiment]
    skipped: dict[str, str]
    """Experiments that this store does not support, with the reason."""

    @classmethod
    def of(cls, config: ReproduceConfig) -> "Plan":
        """Check every study of the requested experiments, without training.

        Raises `ConfigError` or `DataError` if a study cannot work. With `all`, experiments that
        need data that the store does not contain are skipped and listed in `skipped`.
        """
        store = _store(config)
        setting = Setting.of(config, store)
        entries: list[PlannedExperiment] = []
        skipped: dict[str, str] = {}
        for name in _names(config):
            experiment = build(name, experiments, Experiment)
            unmet_need = _unmet_need(experiment, setting)
            if unmet_need and "all" in config.experiments:
                skipped[name] = unmet_need
            elif unmet_need:
                raise DataError(f"{name} cannot be run on {store.path}: {unmet_need}")
            else:
                try:
                    studies = {
                        s: Study.of(c, store) for s, c in experiment.studies(setting).items()
                    }
                except ConfigError as error:  # it may be true of this experiment only
                    raise ConfigError(f"{name} cannot be run on {store.path}: {error}") from error
                entries.append(PlannedExperiment(name, experiment, studies))
        return cls(setting, entries, skipped)

    @property
    def config(self) -> ReproduceConfig:
        return self.setting.config

    @property
    def runs(self) -> list[RunConfig]:
        """All runs without repetition, although experiments share runs; sorted by seed."""
        runs = unique(run for entry in self.experiments for run in entry.runs)
        return sorted(runs, key=lambda run: run.seed)


def _names(config: ReproduceConfig) -> Iterator[str]:
    if not config.experiments:
        raise ConfigError(f"Give an experiment ({', '.join(experiment_names())}), or all.")
    yield from (
        experiment_names() if "all" in config.experiments else dict.fromkeys(config.experiments)
    )


def _store(config: ReproduceConfig) -> Store:
    if config.store is not None:
        return Store.open(config.store)
    if config.scale != "smoke":
        raise ConfigError(
            f"--scale {config.scale} needs patches; give --store STORE, made with mfl ingest."
        )
    return ingest(SMOKE_SOURCE, config.out / "store", progress=False).store


def _unmet_need(experiment: Experiment, setting: Setting) -> str | None:
    if "tissue" in experiment.needs and "tissue" not in setting.tasks:
        return "its patches have fewer than two classes; ingest it with tissue classes."
    if "nuclei" in experiment.needs and setting.masks is None:
        return "it contains no nuclei; ingest it again with --nuclei (docs/nuclei.md)."
    return None
