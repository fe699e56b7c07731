"""Few pairs: accuracy against the share of training patches that have a privileged view."""

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

SHARES = (1.0, 0.5, 0.2)


class FewPairs(Experiment):
    """Cost: for each share an asymmetric arm and TriDeNT, times seeds; symmetric arms do not know
    of pairs.

    Asymmetric arms train on the patches that have both views; TriDeNT on all, pairing the views
    that each has. Asymmetric runs have fewer steps the fewer pairs there are (as many epochs).
    """

    title = "Few pairs"
    about = (
        "What if only some patches have the dense view? TriDeNT can use the others too; asymmetric "
        "training cannot. Not asked in the paper."
    )
    needs = frozenset({"tissue"})

    def studies(self, setting: Setting) -> dict[str, Study]:
        return {
            f"{share:g}": setting.compare(
                f"few-pairs-{share:g}",
                primary=(setting.sparsest,),
                sharing=("independent",),
                trident=True,
                pairs=share,
                missing="pairs" if share < 1 else "drop",
            )
            for share in SHARES
        }

    def numbers(self, found: Found, setting: Setting) -> list[Number]:
        made = []
        for share in SHARES:
            rows = rows_of(found[f"{share:g}"])
            for kind in ("asymmetric", "trident", "symmetric"):
                row = chosen(rows, kind=kind, primary=setting.sparsest, branch="primary")
                if row:
                    made.append(number(row, f"{share:.0%} of pairs", kind))
        return made
