"""MATLAB files of HoVer-Net, CoNSeP and Lizard."""

from pathlib import Path

from morefromless.data.matfiles import read_mat
from morefromless.nuclei_formats import NucleiFormat, TypedInstances


class Mat(NucleiFormat):
    """MATLAB files up to v7: `inst_map` (H, W) with `inst_type` and optionally `inst_uid` or
    `type_map`, or with `class` and `id`. HDF5 files (v7.3) are refused.
    """

    suffixes = (".mat",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.suffix.lower() in cls.suffixes

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        return TypedInstances(*read_mat(path, shape))
