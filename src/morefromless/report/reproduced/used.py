"""What the runs themselves say that they were trained with."""

from collections import Counter
from typing import Any

from morefromless.report.reproduced.left import Left

UNKNOWN = "not recorded"
"""Stands where no record is left that would tell."""


class Used:
    """Values of an option over the runs, the commonest first."""

    def __init__(self, left: Left) -> None:
        own = {run for one in left.finished if one.name == "table-s2" for run in one.runs}
        own -= {run for one in left.finished if one.name != "table-s2" for run in one.runs}
        # Table S2 is there to vary the encoder: its own runs do not say which the others have.
        others = [record for name, record in left.records.items() if name not in own]
        self._records = others or list(left.records.values())

    def __call__(self, option: str) -> list[Any]:
        told = Counter(one["options"][option] for one in self._records if option in one["options"])
        return [value for value, _ in told.most_common()]

    def modalities(self) -> list[str]:
        return [*self("primary"), *self("privileged")]

    def steps(self) -> list[int]:
        """Of self-supervised runs that are done."""
        told = (r.get("steps") for r in self._records if r["kind"] == "pretrain")
        return sorted({int(steps) for steps in told if steps})
