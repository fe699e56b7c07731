"""`mfl report`: one HTML page of a reproduction and its Markdown, from what lies in its folder."""

import base64
from pathlib import Path

from morefromless.data import atomic
from morefromless.experiments import table1
from morefromless.report import pages
from morefromless.report.reproduced import chance, was_run
from morefromless.report.reproduced.content import PICTURES, Page, Part
from morefromless.report.reproduced.departures import Departures, departures
from morefromless.report.reproduced.experiment import part
from morefromless.report.reproduced.floors import unbeaten
from morefromless.report.reproduced.left import Contrast, Left
from morefromless.report.reproduced.markdown import gone, markdown
from morefromless.report.reproduced.reading import read
from morefromless.report.reproduced.wording import (
    SPARSE,
    bounds,
    counted,
    duration,
    listed,
    points,
    seen,
)

TITLE = "More From Less, reproduced"
_NOTICES = {
    "yes": "Data, network and settings are the paper's, so our columns may be compared with its, "
    "within their intervals and the chance that single runs have.",
    "with care": "The data and the scale are the paper's, but not these settings: {}. Compare our "
    "columns with its with that in mind.",
    "no": "Another scale or other data than the paper's: our columns and the paper's are not to be "
    "compared with each other. What may be read here is how our own arms stand to each other, on "
    "these patches.",
}


def write_report(out: Path) -> list[Path]:
    """Write `out/report.md` and `out/report.html`, and before them the figures that they need in
    `out/report`; nothing is trained or evaluated. The page comes last.

    Raises `ConfigError` where `out` holds no reproduction, `DataError` where it is damaged.
    """
    page = _page(read(out))
    paths = [out / "report.md", out / "report.html"]
    atomic.write_text(paths[0], markdown(page))
    sources = {path: _source(out / path) for part in page.parts for path in _paths(part)}
    pages.write(paths[1], "report", {}, page=page, sources=sources, gone=gone)
    return [*sorted((out / "report").glob("*.*")), *paths]


def _page(left: Left) -> Page:
    found = departures(left)
    whole = _whole(left)
    waiting = [f"{title} is not finished: {how}." for title, how in left.waiting.items()]
    waiting += [f"{name} is left out: {why}" for name, why in left.plan.skipped.items()]
    if not left.finished:
        waiting.insert(0, "No experiment is finished yet.")
    return Page(
        title=TITLE,
        lede=_lede(left),
        comparable=found.comparable,
        notice=_notice(found),
        headline=_headline(left),
        parts=[part(one, left, whole, found.comparable != "no") for one in left.finished],
        waiting=waiting,
        caveats=[
            *left.plan.store.caveats,
            *filter(None, (unbeaten(one) for one in left.finished if one.numbers)),
        ],
        chance=chance.sections(left.finished),
        departures=found.sections,
        ran=was_run.section(left),
        runs=was_run.runs(left),
    )


def _lede(left: Left) -> str:
    plan, store = left.plan, left.plan.store
    seeds = {one["options"]["seed"] for one in left.records.values()}
    told = (
        f" with {counted(len(seeds), 'seed')}, {duration(was_run.seconds(left))} of training"
        if left.records
        else ""
    )
    return (
        f"{counted(len(left.finished), 'experiment')} at scale {plan.scale} on {store.title}: "
        f"{was_run.patches(store)} at {store.side} px. "
        f"{counted(len(left.runs), 'run')}{told}. Protocol: "
        f"{was_run.TEXT.get(plan.protocol, plan.protocol)}."
    )


def _notice(found: Departures) -> str:
    return _NOTICES[found.comparable].format(listed(found.settings))


def _headline(left: Left) -> str:
    """Table 1's contrasts of like with like at the fewest pixels."""
    contrasts = [
        one
        for experiment in left.finished
        if experiment.name == "table1"
        for one in experiment.contrasts
        if one.name.startswith("asymmetric - symmetric, both") and SPARSE.search(one.on)
    ]
    if not contrasts:
        return ""
    sparsest = min(map(_side, contrasts))
    told = [
        f"{points(one.difference.estimate)} {bounds(one.difference, signed=True)} with "
        f"{one.name.rpartition(' ')[2]} weights ({one.verdict})"
        for one in contrasts
        if _side(one) == sparsest
    ]
    other, (asymmetric, symmetric, _) = table1.OTHER_SHARING, table1.PUBLISHED[7]
    shared = other["asymmetric", 7] - symmetric
    independent = asymmetric - other["symmetric", 7]
    return (
        f"Does the whole patch beside it teach an encoder of {seen(f'downsample:{sparsest}')}? "
        f"Asymmetric less symmetric training, like with like, in points: {listed(told)}. In the "
        f"paper, at 7 × 7 px: {points(shared)} with shared and {points(independent)} with "
        "independent weights, of single runs."
    )


def _side(contrast: Contrast) -> int:
    found = SPARSE.search(contrast.on)
    assert found
    return int(found[1])


def _whole(left: Left) -> int:
    """Side in px of what encoders see of a whole patch."""
    sizes = {int(one["options"]["size"]) for one in left.records.values()}
    return min([left.plan.store.side, *sizes])


def _paths(part: Part) -> list[str]:
    """Of the figures that are there."""
    looks = [one for some, _, _ in part.looks for one in some]
    return [one.path for one in (*part.drawn, *part.curves, *looks) if one.path]


def _source(path: Path) -> str:
    encoded = base64.b64encode(path.read_bytes()).decode()
    return f"data:{PICTURES[path.suffix]};base64,{encoded}"
