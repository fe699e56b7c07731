"""Few labels: accuracy against the share of labels that the probe sees."""

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

SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)


class FewLabels(Experiment):
    """Cost: the runs are Table 1's at the sparsest side; each share fits its own probes.

    Labels are drawn anew for each seed, of every class its share and one at least. Supervised arms
    saw all labels in training, so they have no part in it.
    """

    title = "Few labels"
    about = (
        "How much of the gain is left, or is there more of it, when few patches are labelled? Not "
        "asked in the paper."
    )
    needs = frozenset({"tissue"})

    def studies(self, setting: Setting) -> dict[str, Study]:
        return {
            f"{share:g}": setting.compare(
                f"few-labels-{share:g}", primary=(setting.sparsest,), labels=share
            )
            for share in SHARES
        }

    def numbers(self, found: Found, setting: Setting) -> list[Number]:
        made = []
        for share in SHARES:
            rows = rows_of(found[f"{share:g}"])
            for kind in ("asymmetric", "symmetric"):
                for sharing in ("independent", "shared"):
                    row = chosen(
                        rows, kind=kind, sharing=sharing, primary=setting.sparsest, branch="primary"
                    )
                    if row:
                        made.append(number(row, f"{share:.0%} of labels", f"{kind}, {sharing}"))
        return made
