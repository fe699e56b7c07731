"""NCT-CRC-HE-100K and CRC-VAL-HE-7K."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from morefromless.data.labels import NCT_CRC
from morefromless.errors import DataError
from morefromless.sources import Datasheet, Item
from morefromless.sources._images import ImageFiles

NAME = re.compile(rf"({'|'.join(NCT_CRC)})-(TCGA-)?[A-Z]{{8}}")


class NctCrc(ImageFiles):
    """H&E patches of human colorectal cancer in nine classes, given by the file names.

    224 x 224 px at 0.5 um/px: 100,000 from 86 slides (`TUM-AAAFLCLY.tif`) and 7,180 for testing
    from 50 other patients (`TUM-TCGA-AACGSRHD.tif`). The class is read from the file name, at any
    depth below the folder or in an archive. If both sets are present, the first is train and the
    second is test, as published. File names do not identify patients.

    Kather, Halama, Marx (2018), doi:10.5281/zenodo.1214456; CC BY 4.0.
    """

    @staticmethod
    def recognises(files: Sequence[str]) -> bool:
        """Whether all files are named like those of NCT-CRC-HE."""
        return bool(files) and all(NAME.fullmatch(PurePath(file).stem) for file in files)

    def datasheet(self) -> Datasheet:
        return Datasheet(
            title="NCT-CRC-HE",
            licence="CC BY 4.0",
            citation="Kather, Halama, Marx (2018), doi:10.5281/zenodo.1214456",
            um_per_px=0.5,
            classes=NCT_CRC,
        )

    def items(self) -> list[Item]:
        files = self.tree.names
        names = [self._name(file) for file in files]
        both = len({name[2] for name in names}) == 2
        return [
            Item(
                id=file,
                label=name[1],
                origin=file,
                split=None if not both else "test" if name[2] else "train",
            )
            for file, name in zip(files, names, strict=True)
        ]

    def _name(self, file: str) -> re.Match[str]:
        name = NAME.fullmatch(PurePath(file).stem)
        if name is None:
            raise DataError(
                f"'{file}' in {self.path} is not named like TUM-AAAFLCLY.tif; rename it, or use "
                f"folder:{self.path} if the folders name the classes."
            )
        return name
