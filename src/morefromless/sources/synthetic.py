"""Synthetic tissue: no download, every nucleus known, and two controls with known results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from morefromless.data.labels import NCT_CRC
from morefromless.data.nuclei import NUCLEI_ARRAY, Nuclei
from morefromless.data.schemes import PANNUKE
from morefromless.errors import ConfigError
from morefromless.sources import Datasheet, Item, Source
from morefromless.synthesis import DRAWINGS, FIELD_UM, Patient, Rng, Tissue, draw, draw_pair
from morefromless.synthesis.controls import CLASSES as CONTROL_CLASSES
from morefromless.synthesis.controls import Control

BOUNDS = {
    "patches": (2, 10**6),
    "patients": (2, 10**6),
    "size": (16, 2048),
    "seed": (0, 2**31 - 1),
}
_PATIENT, _PATCH = 0, 1  # random streams of a seed


@dataclass(frozen=True)
class Synthetic(Source):
    """Synthetic H&E-like images of the nine NCT-CRC tissue classes, 112 x 112 µm each.

    Two stains are mixed by the Beer-Lambert law over nuclei, glands, fibres, mucus and fat. Every
    patient has its own stain vectors, densities and cellularity. The last quarter of the patients
    is the test split. Patch i depends only on the seed, i, its class and its patient, and has the
    same bytes on every machine. The images resemble tissue; they prove nothing about tissue.

    In addition to the image, each patch has `nuclei` with the types of PanNuke. This gives both
    modalities and both tasks of the paper's second experiment. `nuclei=false` omits them.

    `control=positive` and `control=negative` draw pairs `primary` and `privileged` of four of the
    classes instead. In the positive control the privileged image must help; in the negative
    control it cannot (see `morefromless.synthesis.controls`). `control=both` draws the same primary
    images with both privileged ones: `signal` (positive) and `again` (negative). `strength`, from 0
    to 1, is the share of the information missing from the primary image that the privileged image
    of the positive control shows. At 0 it equals the negative control.

    Raises `ConfigError` for values out of range.
    """

    fork_safe = True

    patches: int = 900
    patients: int = 30
    size: int = 64
    seed: int = 0
    control: Literal["none", "positive", "negative", "both"] = "none"
    nuclei: bool = True
    strength: float = 1.0

    def __post_init__(self) -> None:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(
                    f"synthetic:{name}={value} is out of range; use {name}={low} or more, and at "
                    f"most {high:,}."
                )
        if self.patients > self.patches:
            raise ConfigError(
                f"synthetic has {self.patients} patients for {self.patches} patches; use at "
                f"most patients={self.patches}."
            )
        if not 0 <= self.strength <= 1:
            raise ConfigError(
                f"synthetic:strength={self.strength:g} is out of range; use a number from 0 to 1."
            )

    def datasheet(self) -> Datasheet:
        """Licence: Apache-2.0, like the code. µm per px follow from the size."""
        kinds = {"none": "", "both": ", both controls"}
        kind = kinds.get(self.control, f", {self.control} control")
        if self.control in ("positive", "both") and self.strength < 1:
            kind += f" at strength {self.strength:g}"
        return Datasheet(
            title=f"Synthetic colorectal H&E{kind} (seed {self.seed})",
            licence="Apache-2.0",
            um_per_px=FIELD_UM / self.size,
            classes={name: NCT_CRC[name] for name in self._classes},
            scheme=PANNUKE if self._typed else None,
        )

    def items(self) -> Sequence[Item]:
        """All patches. Patients alternate, and the patches of a patient cycle through classes."""
        return [self._item(index) for index in range(self.patches)]

    def read(self, item: Item) -> dict[str, npt.NDArray[np.uint8]]:
        """`he` and `nuclei`, or the arrays of the control, each (size, size, 3) uint8."""
        if self.control == "none":
            tissue = self.tissue(item)
            if not self.nuclei:
                return {"he": tissue.image}
            types = dict(enumerate(tissue.types.tolist(), 1))
            nuclei = Nuclei.typed(tissue.instances, types, PANNUKE)
            return {"he": tissue.image, NUCLEI_ARRAY: nuclei.encode()}
        if self.control == "both":
            primary, signal = self._pair(item, "positive")
            return {"primary": primary, "signal": signal, "again": self._pair(item, "negative")[1]}
        primary, privileged = self._pair(item, self.control)
        return {"primary": primary, "privileged": privileged}

    def tissue(self, item: Item) -> Tissue:
        """The patch of `control=none` with nucleus instances and their types."""
        return draw(*self._drawing(item), self.size)

    def _pair(
        self, item: Item, control: Control
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        return draw_pair(control, *self._drawing(item), self.size, self.strength)

    @property
    def _typed(self) -> bool:
        return self.nuclei and self.control == "none"

    @property
    def _classes(self) -> tuple[str, ...]:
        return tuple(DRAWINGS) if self.control == "none" else CONTROL_CLASSES

    def _item(self, index: int) -> Item:
        turn, patient = divmod(index, self.patients)
        in_test = patient >= self.patients - max(1, round(self.patients / 4))
        return Item(
            id=f"synthetic-{index:06d}",
            label=self._classes[(turn + patient) % len(self._classes)],
            origin=f"seed {self.seed}, patch {index}",
            split="test" if in_test else "train",
            group=f"patient-{patient:04d}",
        )

    def _drawing(self, item: Item) -> tuple[str, Patient, Rng]:
        """Original class and patient of a patch (before any renaming), and its random stream."""
        index = int(item.id.rpartition("-")[2])
        patient = Patient.sample(Rng(self.seed, _PATIENT, index % self.patients))
        return self._item(index).label, patient, Rng(self.seed, _PATCH, index)
