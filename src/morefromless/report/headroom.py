"""The output of `mfl headroom`: a table, its numbers, and notes on their limits."""

from pathlib import Path

from morefromless import files
from morefromless.analysis.headroom import Headroom
from morefromless.config import to_flat
from morefromless.report.section import Report, Section, interval, unreliable_note
from morefromless.report.words import per_cent

NOTES = (
    "Accuracies are those of a ridge probe on frozen features of the test patches. Differences are "
    "in points, with the 95 % interval over test patches, or over groups if they are known.",
    "The headroom is the most that a student can gain from the information in these dense "
    "features. Features of another kind may contain more.",
    "The forecast uses a probe on dense features that a ridge regression predicts from the sparse "
    "ones. A trained encoder may find more in the sparse view than these sparse features contain, "
    "so the gain can exceed the forecast: on synthetic tissue, gains were 7 to 19 points above it.",
)


def report(result: Headroom) -> Report:
    """The table and its notes as a report."""
    config = result.config
    features = config.encoder or "hand-crafted features"
    rows = [
        (f"probe of {config.primary}", per_cent(result.sparse)),
        (f"probe of {config.privileged}", per_cent(result.dense)),
        (f"probe of {config.privileged} as predicted", per_cent(result.predicted)),
        ("headroom: dense - sparse", interval(result.headroom, signed=True)),
        ("forecast: predicted - sparse", interval(result.forecast, signed=True)),
        ("predicted share of the components' variance", per_cent(result.predicted_share)),
    ]
    title = f"Headroom of {config.primary} with {config.privileged}, {features}"
    count, explained = min(8, len(result.components)), sum(c.variance for c in result.components)
    parts = Section(
        f"The first {count} components; all {len(result.components)} explain "
        f"{per_cent(explained)} % of the variance of the dense features",
        ("component", "share of variance %", "predicted %"),
        [
            (str(number), per_cent(component.variance), per_cent(component.predicted))
            for number, component in enumerate(result.components[:count], 1)
        ],
    )
    sections = [Section(title, ("", "%"), rows), parts]
    return Report(title, sections, [*unreliable_note(sections), *NOTES])


def write(result: Headroom) -> list[Path]:
    """Write `headroom.md` and `headroom.json` to the configured folder."""
    folder = result.config.out
    numbers = {
        "options": to_flat(result.config),
        "sparse": result.sparse,
        "dense": result.dense,
        "predicted": result.predicted,
        "headroom": result.headroom,
        "forecast": result.forecast,
        "predicted_share": result.predicted_share,
        "components": result.components,
    }
    path = folder / "headroom.json"
    files.write_json(path, numbers)
    return [report(result).write(folder / "headroom.md"), path]
