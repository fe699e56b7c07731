"""Table S2: the same with other encoders."""

from morefromless.experiments import (
    Experiment,
    Found,
    Number,
    Setting,
    Study,
    chosen,
    number,
    rows_of,
)
from morefromless.runs import file_name

PUBLISHED = {
    "ResNet50": (0.7743, 0.6926, 0.7656, 0.7890, 0.8846, 0.9370),
    "MobileNetV2": (0.7580, 0.7050, 0.7616, 0.7959, 0.8602, 0.9390),
    "EfficientNetB0": (0.7757, 0.7109, 0.7595, 0.8265, 0.8441, 0.9241),
    "Xception": (0.7619, 0.6858, 0.7719, 0.8258, 0.8965, 0.9351),
}
"""Down-sampled: asymmetric, symmetric, supervised; full resolution: the same."""


class TableS2(Experiment):
    """Cost: an encoder's arms at the sparsest side and of the whole patch, times encoders and
    seeds. At full resolution, `asymmetric` is the branch of the whole patch that was paired with
    the sparse one. A small scale has small stand-ins for the paper's encoders, named so.
    """

    title = "Table S2: encoders"
    about = (
        "Is the gain that of one encoder? In the paper all four gain 5 to 8 points at 7 x 7 px "
        "(independent against shared weights), and lose at full resolution."
    )
    needs = frozenset({"tissue"})

    def studies(self, setting: Setting) -> dict[str, Study]:
        return {
            name: setting.compare(
                f"table-s2-{file_name(name)}",
                primary=(setting.sparsest,),
                encoder=typed,
                dense_arms=True,
            )
            for name, typed in setting.encoders.items()
        }

    def numbers(self, found: Found, setting: Setting) -> list[Number]:
        made = []
        sparse, whole = setting.sparsest, setting.whole
        for name, typed in setting.encoders.items():
            rows = rows_of(found[name])
            told = PUBLISHED.get(name, (None,) * 6)
            title = name if setting.scale == "paper" else f"{name} (here {typed})"
            wanted = [
                ("down-sampled: asymmetric", ("asymmetric", "independent", sparse, "primary")),
                ("down-sampled: symmetric", ("symmetric", "shared", sparse, "primary")),
                ("down-sampled: supervised", ("supervised", None, sparse, "primary")),
                ("full: asymmetric", ("asymmetric", "independent", sparse, "privileged")),
                ("full: symmetric", ("symmetric", "shared", whole, "primary")),
                ("full: supervised", ("supervised", None, whole, "primary")),
                (
                    "down-sampled: symmetric, independent",
                    ("symmetric", "independent", sparse, "primary"),
                ),
            ]
            for place, (column, (kind, sharing, primary, branch)) in enumerate(wanted):
                row = chosen(rows, kind=kind, sharing=sharing, primary=primary, branch=branch)
                if row:
                    published = told[place] if place < 6 else None
                    where = "Table S2" if published else ""
                    made.append(number(row, title, column, published, where))
        return made
