"""How far chance goes: the paper's numbers of one configuration, and our seeds."""

from collections.abc import Sequence
from math import pi, sqrt
from statistics import mean, median

from morefromless.experiments import table1, table2, table_s3
from morefromless.report.reproduced.grid import deviations
from morefromless.report.reproduced.left import Finished
from morefromless.report.reproduced.wording import listed, per_cent, points, published
from morefromless.report.section import Section

TWICE = (
    (
        "whole patches, independent weights",
        "Table 1",
        table1.PUBLISHED[224][0],
        "Table S3",
        table_s3.PUBLISHED["vicreg", "independent"][3],
    ),
    (
        "whole patches, supervised",
        "Table 1",
        table1.PUBLISHED[224][2],
        "Table 2",
        table2.PUBLISHED["tissue", "images"][4],
    ),
    (
        "whole patches, shared weights",
        "Table 1",
        table1.PUBLISHED[224][1],
        "Table S3",
        table_s3.PUBLISHED["vicreg", "shared"][3],
    ),
)
"""Configurations that, as far as the text tells, the paper gives two numbers of."""
SPREAD = mean(abs(a - b) for _, _, a, _, b in TWICE) * sqrt(pi) / 2
"""Standard deviation of a single run: two of a normal one lie 2 / √π of it apart on average."""
_GAIN = table1.PUBLISHED[14][0] - table1.PUBLISHED[14][1]


def sections(finished: Sequence[Finished]) -> list[Section]:
    """The paper's pairs; beside them the standard deviation between our seeds."""
    pairs = [
        (what, f"{published(a)} ({place})", f"{published(b)} ({other})", per_cent(abs(a - b)))
        for what, place, a, other, b in TWICE
    ]
    spreads = [(one.title, deviations(one)) for one in finished]
    ours = [
        (title, str(len(found)), per_cent(median(found)), per_cent(max(found)))
        for title, found in spreads
        if found
    ]
    made = [
        Section(
            "The paper: one configuration, two single runs",
            ("configuration", "once", "again", "points apart"),
            pairs,
            [
                "Single runs of one configuration so have a standard deviation of about "
                f"{per_cent(SPREAD)} points, and the difference of two of them one of "
                f"{per_cent(SPREAD * sqrt(2))}: the {points(_GAIN)} of asymmetric over symmetric "
                "training at 14 × 14 px are not beyond it."
            ],
        )
    ]
    if ours:
        made.append(
            Section(
                "Ours: standard deviation between seeds, in points",
                ("experiment", "cells", "median", "largest"),
                ours,
                [],
            )
        )
    return made


def sentence(found: Finished) -> str | None:
    """The same of one experiment; None where it has no numbers."""
    if not found.numbers:
        return None
    spread = deviations(found)
    apart = listed(per_cent(abs(a - b)) for _, _, a, _, b in TWICE)
    ours = (
        f"between seeds the standard deviation is {per_cent(median(spread))} points (the median of "
        f"{len(spread)} cells; the largest is {per_cent(max(spread))})"
        if spread
        else "each number of ours is of one run, so chance between seeds is not known"
    )
    return f"Chance: {ours}. The paper's own numbers of one configuration lie {apart} points apart."
