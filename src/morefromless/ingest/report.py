"""The report of an ingest."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from morefromless.data.labels import tissue_classes
from morefromless.data.store import Store
from morefromless.errors import first_few
from morefromless.ingest.listing import skipped_kinds
from morefromless.modalities.image import image_spec


@dataclass(frozen=True)
class IngestReport:
    """A store and how it was made. `str(report)` is the summary line."""

    store: Store
    already_existed: bool = False
    """Whether the store already existed, made from the same source with the same options."""
    spellings: Mapping[str, str] = field(default_factory=dict)
    """Class or group as the source spells it -> normal form, if the two differ."""

    @property
    def splits(self) -> dict[str, int]:
        """Accepted patches by split."""
        return dict(self.store.meta.splits)

    @property
    def accepted(self) -> int:
        """Number of patches in the store."""
        return sum(self.splits.values())

    @property
    def rejected(self) -> Counter[str]:
        """Kind of reason -> number of rejected patches."""
        return Counter(self.store.meta.rejected)

    @property
    def nuclei(self) -> dict[str, int] | None:
        """Type -> number of counted nuclei, or None if the store has no nuclei."""
        if self.store.meta.scheme is None:
            return None
        nuclei, types = self.store.nuclei, self.store.scheme.types
        counts = np.bincount(nuclei["type"][nuclei["counted"]], minlength=len(types))
        return dict(zip(types, counts.tolist(), strict=True))

    @property
    def notes(self) -> list[str]:
        """The store's caveats, channel ranges, skipped parts of the source, and changed names."""
        omitted = self.store.meta.omitted
        changes = [f"{given!a} to {normal!a}" for given, normal in self.spellings.items()]
        ranges = [
            f"{name} has the channels {', '.join(self.store.channels(name))}; use it as modality "
            f"{image_spec(self.store, name)} (range: 0.1st to 99.9th percentile of the training "
            "patches)."
            for name, array in self.store.meta.arrays.items()
            if array.ranges
        ]
        return [
            *self.store.caveats,
            *ranges,
            *[f"Skipped: {skipped_kinds(omitted)}."] * bool(omitted),
            *[f"Names changed to their normal form: {first_few(changes, 5)}."] * bool(changes),
        ]

    def __str__(self) -> str:
        splits = ", ".join(f"{count:,} {split}" for split, count in sorted(self.splits.items()))
        for name, counts in self.store.meta.absent.items():
            splits += f"; {sum(counts.values()):,} without {name}"
        path, classes = self.store.path, len(tissue_classes(self.store.classes))
        reasons = ", ".join(f"{count:,} {kind}" for kind, count in self.rejected.most_common())
        listed = f" ({reasons}; listed in {path / 'rejected.csv'})" if reasons else ""
        nuclei = ""
        if self.nuclei is not None:
            by_type = ", ".join(f"{count:,} {name}" for name, count in self.nuclei.items() if count)
            nuclei = f" and {sum(self.nuclei.values()):,} nuclei" + f" ({by_type})" * bool(by_type)
        return (
            f"{'Already done: ' * self.already_existed}{path} contains {self.accepted:,} patches "
            f"of {classes} {'class' if classes == 1 else 'classes'}{nuclei} ({splits}); "
            f"{self.rejected.total():,} rejected{listed}."
        )
