"""What an experiment's modalities yield without learning a representation."""

from morefromless.report.reproduced.left import Finished, Floor, Unbeaten
from morefromless.report.reproduced.wording import bounds, listed, per_cent, seen
from morefromless.report.section import Section


def floors(found: Finished) -> Section | None:
    """A row a modality; one that says the same for every study stands once."""
    names = list(dict.fromkeys(one.name for one in found.floors))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for one in found.floors:
        row = cells.setdefault((_where(one), one.study), {})
        row[one.name] = f"{per_cent(one.accuracy.estimate)} {bounds(one.accuracy)}"
    if not cells:
        return None
    places = list(dict.fromkeys(where for where, _ in cells))
    lines: dict[tuple[str, ...], list[str]] = {}
    for (where, study), row in sorted(cells.items(), key=lambda cell: places.index(cell[0][0])):
        values = (row.get(name, "") for name in names)
        lines.setdefault((where, *values), []).append(found.called(study))
    rows = [
        (where if len(alike) == _studies(found) else f"{where}, {', '.join(alike)}", *values)
        for (where, *values), alike in lines.items()
    ]
    return Section(
        "Floors: what needs no learnt representation",
        ("seen", *names),
        rows,
        [
            "majority: the commonest class; mean-rgb, colour-histogram: forests on these; random "
            "encoder: untrained, by the same probe."
        ],
    )


def unbeaten(found: Finished) -> str:
    """Where, in a table, no arm is above the highest floor; empty where all have one that is."""
    if not (found.unbeaten and found.numbers):
        return ""
    held: dict[str, list[str]] = {}
    for one in found.unbeaten:
        held.setdefault(_where(one), []).append(found.called(one.study))
    told = [
        where if len(alike) == _studies(found) else f"{where} ({listed(alike)})"
        for where, alike in held.items()
    ]
    return (
        f"{found.title.partition(':')[0]}: no arm is above the highest floor of {listed(told)}. "
        "So the worth of what was learnt is not shown there."
    )


def _where(one: Floor | Unbeaten) -> str:
    return seen(f"{one.task}: {one.modality}" if one.task else one.modality)


def _studies(found: Finished) -> int:
    """How many there are; what holds in all of them need not name any."""
    return len({one.study for one in found.floors})
