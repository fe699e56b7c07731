"""An experiment's contrasts: which are shown, in words and as strips, and how they are read."""

from collections import Counter
from collections.abc import Sequence

from morefromless.report.reproduced.content import Contrasts, Difference
from morefromless.report.reproduced.left import Contrast, Finished
from morefromless.report.reproduced.wording import bounds, counted, points, seen, typeset
from morefromless.report.section import p_value


def contrasts(found: Finished) -> Contrasts | None:
    """The table of contrasts, by what is seen; None where there are none to show."""
    shown = _shown(found)
    if not shown:
        return None
    ends = (end for one in shown for end in (one.difference.low, one.difference.high))
    reach = max([0.01, *map(abs, ends)])
    groups: dict[str, list[Difference]] = {}
    for one in shown:
        where = ", ".join(filter(None, (seen(one.on), found.called(one.study))))
        groups.setdefault(where, []).append(_difference(one, reach))
    told = Counter(one.verdict for one in shown)
    order = sorted(told, key=lambda verdict: (verdict.startswith("no "), verdict))
    verdicts = ", ".join(f"{told[verdict]} {verdict}" for verdict in order)
    return Contrasts(
        f"{counted(len(shown), 'contrast')}: {verdicts}",
        list(groups.items()),
        f"{100 * reach:.0f}",
        _note(found, shown),
    )


def _shown(found: Finished) -> list[Contrast]:
    """Contrasts of arms that its table has. An experiment that only looks into encoders has the
    contrasts of the table that these are of, and few labels say nothing of supervised training."""
    if found.looks and not found.numbers:
        return []
    supervised = any("supervised" in n.column for n in found.numbers) or not found.numbers
    return [one for one in found.contrasts if supervised or "supervised" not in one.name]


def _difference(one: Contrast, reach: float) -> Difference:
    of = one.difference
    low, middle, high = (round(100 * v / reach, 1) for v in (of.low, of.estimate, of.high))
    return Difference(
        typeset(one.name),
        f"{points(of.estimate)} {bounds(of, signed=True)}",
        p_value(one.p),
        one.verdict,
        (low, middle, high),
    )


def _note(found: Finished, shown: Sequence[Contrast]) -> str:
    families = Counter(one.study for one in found.contrasts)
    sizes = sorted(set(families.values()))
    family = f"the {' to '.join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))} contrasts"
    each = " of each study" if len(families) > 1 else ""
    hidden = len(found.contrasts) - len(shown)
    also = ", those with supervised arms, which its table has not, among them" if hidden else ""
    return (
        "Differences in points, with Student's intervals over seeds and test units. p is the "
        "larger of that t test's and a sign-flip test's on the same test patches, Holm-corrected "
        f"for {family}{each}{also}; better or worse is said only where it is below 0.05, and never "
        "with one seed."
    )
