"""Reading what `mfl reproduce` left, and checking it; nothing is evaluated."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from morefromless import experiments
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.intervals import Interval
from morefromless.experiments import Experiment, Number, known
from morefromless.report.reproduced.left import (
    Contrast,
    Finished,
    Floor,
    Left,
    Look,
    Metered,
    Planned,
    StoreFacts,
    Unbeaten,
)
from morefromless.report.section import Section
from morefromless.runs import Run
from morefromless.specs import members


def read(out: Path) -> Left:
    """Everything in `out`.

    Raises `ConfigError` where it holds no reproduction, `DataError` where a file is damaged.
    """
    path = out / "plan.json"
    if not path.is_file():
        raise ConfigError(
            f"{out} holds no reproduction (plan.json is missing); give the --out of mfl reproduce."
        )
    with _checking(path):
        plan = _planned(_json(path))
    finished = [_finished_in(one) for one in (out / "experiments").glob("*.json")]
    places = {name: place for place, name in enumerate(known())}
    finished.sort(key=lambda one: (places.get(one.name, len(places)), one.name))
    done = {one.name for one in finished}
    titles = {name: kind.title for name, kind in members(experiments, Experiment).items()}
    waiting = {
        titles.get(name, name): f"{sum(Run(out / 'runs' / run).done for run in runs)} of "
        f"{len(runs)} runs are done"
        for name, runs in plan.experiments.items()
        if name not in done
    }
    held = [Run(out / "runs" / run) for one in finished for run in one.runs]
    records = {run.path.name: run.record for run in held if run.record_path.is_file()}
    return Left(out, plan, tuple(finished), waiting, records, _energy(out / "energy.jsonl"))


@contextmanager
def _checking(path: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({type(error).__name__}: {error}); remove it and run mfl reproduce "
            "again."
        ) from error


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _energy(path: Path) -> list[Metered]:
    if not path.is_file():
        return []
    with _checking(path):
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return [
            Metered({name: float(j) for name, j in one["joules"].items()}, float(one["seconds"]))
            for one in lines
        ]


def _finished_in(path: Path) -> Finished:
    with _checking(path):
        return _finished(_json(path))


def _planned(told: Any) -> Planned:
    store = told["store"]
    return Planned(
        options=dict(told["options"]),
        scale=str(told["scale"]),
        about=str(told["about"]),
        protocol=str(told["protocol"]),
        store=StoreFacts(
            title=str(store["title"]),
            hash=str(store["hash"]),
            side=int(store["side"]),
            um_per_px=store["um_per_px"],
            classes=tuple(store["classes"]),
            kept={split: int(patches) for split, patches in store["kept"].items()},
            caveats=tuple(store["caveats"]),
        ),
        experiments={name: tuple(runs) for name, runs in told["experiments"].items()},
        skipped=dict(told["skipped"]),
        versions=dict(told["versions"]),
        machine=dict(told["machine"]),
        when=str(told["when"]),
        recipe=told.get("recipe"),
    )


def _finished(told: Any) -> Finished:
    return Finished(
        name=str(told["name"]),
        title=str(told["title"]),
        about=str(told["about"]),
        numbers=tuple(
            Number(**{**one, "ours": Interval(**one["ours"]), "seeds": tuple(one["seeds"])})
            for one in told["numbers"]
        ),
        contrasts=tuple(
            Contrast(**{**one, "difference": Interval(**one["difference"])})
            for one in told["contrasts"]
        ),
        floors=tuple(
            Floor(**{**one, "accuracy": Interval(**one["accuracy"])}) for one in told["floors"]
        ),
        unbeaten=tuple(
            Unbeaten(one["modality"], one["task"], one["study"]) for one in told["unbeaten"]
        ),
        rising=tuple(told["rising"]),
        curves=tuple(told["curves"]),
        pictures=tuple(told["pictures"]),
        looks=tuple(_look(one) for one in told["looks"]),
        caveats=tuple(told["caveats"]),
        runs=tuple(told["runs"]),
    )


def _look(told: Any) -> Look:
    return Look(
        study=str(told["study"]),
        primary=str(told["primary"]),
        figures=tuple(told["figures"]),
        sections=tuple(Section(**one) for one in told.get("sections", ())),
        notes=tuple(told.get("notes", ())),
    )
