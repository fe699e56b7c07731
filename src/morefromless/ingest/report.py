"""What came of an ingest."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from morefromless.data.store import Store


@dataclass(frozen=True)
class IngestReport:
    """Patches accepted and rejected, and why; `str` of it is the last line to print."""

    accepted: int
    rejected: Counter[str]
    """Rejected patches by kind of reason."""
    path: Path
    seconds: float
    classes: int
    splits: Mapping[str, int]
    """Accepted patches by split."""
    caveats: tuple[str, ...]
    nuclei: Mapping[str, int] | None = None
    """Type to number of nuclei counted in the accepted patches; None where none are known."""
    absent: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Array to number of accepted patches without it, by split."""
    omitted: Mapping[str, int] = field(default_factory=dict)
    """What the source left out of its patches: kind to number."""
    already: bool = False
    """Whether the store was there before, from the same source with the same options."""

    @classmethod
    def of(cls, path: Path, seconds: float, already: bool = False) -> "IngestReport":
        """The report on the store at `path`."""
        store = Store.open(path)
        meta = store.meta
        return cls(
            accepted=sum(meta["splits"].values()),
            rejected=Counter(meta["rejected"]),
            path=path,
            seconds=seconds,
            classes=len(meta["classes"]),
            splits=meta["splits"],
            caveats=tuple(meta["caveats"]),
            nuclei=_by_type(store) if meta.get("scheme") else None,
            absent=meta["absent"],
            omitted=meta["omitted"],
            already=already,
        )

    @property
    def notes(self) -> list[str]:
        """What the source left out, in a sentence."""
        counts = ", ".join(f"{count:,} x {kind}" for kind, count in self.omitted.items())
        return [f"Left out of the segmentations: {counts}."] if counts else []

    def __str__(self) -> str:
        splits = ", ".join(f"{count:,} {split}" for split, count in sorted(self.splits.items()))
        reasons = ", ".join(f"{count:,} {kind}" for kind, count in self.rejected.most_common())
        listed = f" ({reasons}; listed in {self.path / 'rejected.csv'})" if reasons else ""
        nuclei = ""
        if self.nuclei is not None:
            each = ", ".join(f"{count:,} {name}" for name, count in self.nuclei.items() if count)
            nuclei = f" and {sum(self.nuclei.values()):,} nuclei" + f" ({each})" * bool(each)
        for name, counts in self.absent.items():
            splits += f"; {sum(counts.values()):,} without {name}"
        classes = f"{self.classes} {'class' if self.classes == 1 else 'classes'}"
        return (
            f"{'Already done: ' * self.already}{self.path} keeps {self.accepted:,} patches of "
            f"{classes}{nuclei} ({splits}); {self.rejected.total():,} rejected{listed}."
        )


def _by_type(store: Store) -> dict[str, int]:
    nuclei, types = store.nuclei, store.scheme.types
    counts = np.bincount(nuclei["type"][nuclei["counted"]], minlength=len(types))
    return dict(zip(types, counts.tolist(), strict=True))
