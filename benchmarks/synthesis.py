"""Patches of drawn tissue."""

from benchmarks import Call, Row, Stage
from morefromless.synthesis import DRAWINGS, Patient, Rng, draw, draw_pair


class Synthesis(Stage):
    """One patch of each of the nine tissues, and pairs of the positive control."""

    variants = ("size=64", "size=224")

    def __init__(self, size: int = 64) -> None:
        self.size = size

    @property
    def title(self) -> str:
        return f"Drawn tissue, {self.size} px"

    @property
    def units(self) -> tuple[float, str]:
        return len(DRAWINGS), "patches"

    def rows(self) -> list[Row]:
        return [
            Row("nine tissues", self._tissues),
            Row("pairs of the control", self._pairs, compared=False),
        ]

    def _tissues(self) -> Call:
        def call() -> None:
            for number, name in enumerate(DRAWINGS):
                patient = Patient.sample(Rng(0, 0, number))
                draw(name, patient, Rng(0, 1, number), self.size)

        return call

    def _pairs(self) -> Call:
        def call() -> None:
            for number in range(len(DRAWINGS)):
                name = ("ADI", "LYM", "MUS", "NORM")[number % 4]
                patient = Patient.sample(Rng(0, 0, number))
                draw_pair("positive", name, patient, Rng(0, number), self.size)

        return call
