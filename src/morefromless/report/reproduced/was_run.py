"""What was run: versions, data, hours, hardware and energy, and every run."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from morefromless.options import ReproduceOptions
from morefromless.report.reproduced.left import Left, Metered, StoreFacts
from morefromless.report.reproduced.used import UNKNOWN
from morefromless.report.reproduced.wording import counted, duration, listed
from morefromless.report.section import Section

JOULES = 3.6e6
"""Of a kilowatt hour."""
TEXT = {
    "text": "the paper's text, in sound units (text)",
    "authors": "the conventions of the authors' code (authors)",
}
"""Protocols."""


def section(left: Left) -> Section:
    """A line a fact."""
    plan, store = left.plan, left.plan.store
    records = list(left.records.values())
    seeds = sorted({int(one["options"]["seed"]) for one in records})
    machine = plan.machine
    facts = {
        "scale": f"{plan.scale}: {plan.about}",
        "protocol": TEXT.get(plan.protocol, plan.protocol),
        "settings": _settings(plan.recipe),
        "patches": f"{store.title}; {patches(store)}",
        "data hash": store.hash + _others(store.hash, records),
        "runs": f"{len(left.runs):,}" + _gone(left),
        "seeds": listed(map(str, seeds)) or UNKNOWN,
        "training": duration(seconds(left)) + " in all" if records else UNKNOWN,
        "trained on": _devices(records),
        "processor": f"{machine.get('processor', 'not told')}, "
        + counted(int(machine.get("cores", 0)), "core"),
        "GPUs": listed(machine.get("gpus") or ["none"]),
        "energy": _energy(left.energy),
        "versions": _versions(plan.versions, records),
        "last command": command(plan.options),
        "planned": plan.when,
    }
    return Section("", ("", ""), list(facts.items()), [])


def runs(left: Left) -> Section:
    """A line a run."""
    lines = []
    for name in left.runs:
        told = left.records.get(name, {})
        took = duration(told["seconds"]) if "seconds" in told else "not finished"
        lines.append(
            (
                name,
                f"{told['steps']:,}" if "steps" in told else "",
                took if told else "record is gone",
                str(told.get("device", "")),
                "yes" if told.get("resumed") else "",
            )
        )
    return Section("", ("run", "steps", "training", "device", "resumed"), lines, [])


def patches(store: StoreFacts) -> str:
    """`4,800 training and 1,200 test patches of 3 classes`; patches of one class have no tissue to
    tell apart."""
    called = {"train": "training"}
    counts = listed(f"{n:,} {called.get(s, s)}" for s, n in store.kept.items())
    classes = f" of {len(store.classes)} classes" if len(store.classes) > 1 else ""
    return f"{counts} patches{classes}"


def seconds(left: Left) -> float:
    """Of training, each run once."""
    return sum(float(one.get("seconds", 0)) for one in left.records.values())


def command(options: Mapping[str, Any]) -> str:
    """The command line that these options came from."""
    usual = {one.name: one.default for one in fields(ReproduceOptions)}
    words = ["mfl", "reproduce", *options.get("experiments", [])]
    for name, value in options.items():
        if name in ("experiments", "plan") or value is None or value == []:
            continue
        if name in usual and str(value) == str(usual[name]):
            continue
        told = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *map(str, told)]
    return shlex.join(words)


def _settings(recipe: Mapping[str, Any] | None) -> str:
    if recipe is None:
        return UNKNOWN
    told = [f"{name.replace('_', ' ')} {value}" for name, value in recipe.items()]
    return ", ".join(told) + "; all else as the paper has it" if told else "the paper's"


def _others(own: str, records: Iterable[Mapping[str, Any]]) -> str:
    others = {one["store_hash"] for one in records} - {own}
    return f"; some runs are of other data ({', '.join(sorted(others))})" if others else ""


def _gone(left: Left) -> str:
    gone = len(left.runs) - len(left.records)
    return f", of which {gone:,} have no record any more" if gone else ""


def _devices(records: Iterable[Mapping[str, Any]]) -> str:
    told = (str(one["device"]) for one in records if "device" in one)
    return listed(dict.fromkeys(told)) or UNKNOWN


def _energy(told: Sequence[Metered]) -> str:
    if not told:
        return "not told by this machine"
    counters = Counter[str]()
    for one in told:
        counters.update(one.joules)
    by = ", ".join(f"{name} {joules / JOULES:.3g}" for name, joules in counters.items())
    total = f"{counters.total() / JOULES:,.3g} kWh by the whole machine"
    return f"{total} in the {duration(sum(one.seconds for one in told))} that were metered ({by})"


def _versions(planned: Mapping[str, str], records: Iterable[Mapping[str, Any]]) -> str:
    every = [planned, *(one["versions"] for one in records)]
    return "; ".join(
        f"{name} {listed(dict.fromkeys(str(one[name]) for one in every if name in one))}"
        for name in planned
    )
