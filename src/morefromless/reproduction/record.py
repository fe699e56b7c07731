"""Write plan.json, from which `mfl status` and `mfl report` read a reproduction."""

import platform
import shlex
from pathlib import Path
from typing import Any

import torch

from morefromless.config import Machine, ReproduceConfig, to_flat, typed_options
from morefromless.devices import available_cores
from morefromless.errors import ConfigError
from morefromless.evaluation.conclude import data_facts
from morefromless.experiments import SCALES, published
from morefromless.experiments._paper import departures
from morefromless.files import now
from morefromless.identity import versions
from morefromless.report.content import PlanFile, read
from morefromless.reproduction.plan import Plan
from morefromless.tasks import build_task


def save_plan(plan: Plan) -> None:
    """Write plan.json; experiments of earlier commands are kept.

    Raises `ConfigError` if the folder contains a reproduction with other data or settings.
    """
    setting, config = plan.setting, plan.config
    excluded = {*vars(Machine()), "jobs", "seeds"}
    settings = {k: v for k, v in setting.recipe.items() if k not in excluded}
    settings["protocol"] = config.protocol
    earlier = _earlier(plan, settings)
    data = data_facts(setting.store, {spec: build_task(spec) for spec in setting.tasks})
    repeated: dict[str, list[float]] = {}
    for number in published():
        if number.configuration:
            repeated.setdefault(number.configuration, []).append(number.value)
    PlanFile(
        command=command(config),
        options=to_flat(config),
        about=SCALES[config.scale].about,
        settings=settings,
        sides=list(setting.sides),
        seeds=int(setting.recipe["seeds"]),
        data=data,
        experiments=(earlier.experiments if earlier else {})
        | {entry.name: [run.out.name for run in entry.runs] for entry in plan.experiments},
        titles=(earlier.titles if earlier else {})
        | {entry.name: entry.experiment.title for entry in plan.experiments},
        skipped=plan.skipped,
        departures=list(
            departures(plan.runs, data, bool(setting.recipe.get("standardise", False)))
        ),
        repeated=repeated,
        versions=versions(),
        machine=machine(),
        when=now(),
    ).write(config.out)


def _earlier(plan: Plan, settings: dict[str, Any]) -> PlanFile | None:
    """The existing plan of the folder, or None. Raises `ConfigError` if the plans disagree."""
    out = plan.config.out
    if not (out / "plan.json").is_file():
        return None
    earlier = read(out / "plan.json", PlanFile)
    seeds = int(plan.setting.recipe["seeds"])
    if seeds < earlier.seeds:
        raise ConfigError(
            f"{out} contains a reproduction with {earlier.seeds} seeds, and --seeds {seeds} would "
            "overwrite its tables; give another --out."
        )
    requested = {"data": plan.setting.store.hash, "sides": list(plan.setting.sides), **settings}
    existing = {"data": earlier.data.hash, "sides": earlier.sides, **earlier.settings}
    for name in dict.fromkeys((*existing, *requested)):
        if existing.get(name) != requested.get(name):
            raise ConfigError(
                f"{out} contains a reproduction with {name} {existing.get(name)}, not "
                f"{requested.get(name)}; give another --out to keep its runs unchanged."
            )
    return earlier


def command(config: ReproduceConfig) -> str:
    """The command line of these options.

    >>> command(ReproduceConfig(experiments=("table1",), scale="smoke", seeds=2))
    'mfl reproduce table1 --scale smoke --seeds 2'
    """
    options = typed_options(
        config, ReproduceConfig(experiments=()), without=("experiments", "plan")
    )
    return shlex.join(["mfl", "reproduce", *config.experiments, *options])


def machine() -> dict[str, Any]:
    """Description of the machine: processor, cores and GPUs."""
    gpus = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    return {"processor": _processor(), "cores": available_cores(), "gpus": gpus}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
