"""Table S3: SimCLR and VICReg, shared and independent weights."""

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

PUBLISHED = {
    ("simclr", "shared"): (0.7780, 0.7241, 0.8136, 0.9075),
    ("simclr", "independent"): (0.7505, 0.7243, 0.8250, 0.8715),
    ("vicreg", "shared"): (0.7730, 0.6926, 0.7867, 0.8846),
    ("vicreg", "independent"): (0.7743, 0.7383, 0.7890, 0.8672),
}
"""Down-sampled: asymmetric, symmetric; full resolution: the same."""


class TableS3(Experiment):
    """Cost: VICReg's runs are Table 1's; SimCLR adds 4 arms at the sparsest side and 2 of the whole
    patch, times seeds."""

    title = "Table S3: objectives and sharing"
    about = (
        "Is the gain that of one objective, or of sharing? In the paper it is 5.4 and 2.6 points "
        "with SimCLR (shared, independent), and 8.0 and 3.6 with VICReg."
    )
    needs = frozenset({"tissue"})

    def studies(self, setting: Setting) -> dict[str, Study]:
        return {
            name: setting.compare(
                f"table-s3-{name}",
                primary=(setting.sparsest,),
                objective=setting.objective(name),
                dense_arms=True,
            )
            for name in ("simclr", "vicreg")
        }

    def numbers(self, found: Found, setting: Setting) -> list[Number]:
        made = []
        for (objective, sharing), told in PUBLISHED.items():
            rows = rows_of(found[objective])
            sparse, whole = setting.sparsest, setting.whole
            wanted = {
                "down-sampled: asymmetric": ("asymmetric", sparse, "primary"),
                "down-sampled: symmetric": ("symmetric", sparse, "primary"),
                "full: asymmetric": ("asymmetric", sparse, "privileged"),
                "full: symmetric": ("symmetric", whole, "primary"),
            }
            for (column, (kind, primary, branch)), value in zip(wanted.items(), told, strict=True):
                row = chosen(rows, kind=kind, sharing=sharing, primary=primary, branch=branch)
                if row:
                    name = f"{objective}, {sharing}"
                    made.append(number(row, name, column, value, "Table S3"))
        return made
