"""Arrays of one image, in the layout of CoNIC or PanNuke."""

from pathlib import Path

from morefromless.data.arrays import open_npy
from morefromless.data.masks import check_size, majority_types, to_int32
from morefromless.data.pannuke_masks import CHANNELS, merge_channels
from morefromless.errors import DataError, UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances
from morefromless.nuclei_formats._files import contains_object, map_array
from morefromless.nuclei_formats._pieces import Pieces, separate_pieces


class Npy(NucleiFormat):
    """(H, W, 2): instance and type, as in CoNIC; (H, W, 6): one channel of instances per type, as
    in PanNuke. Files in a folder `instances` are label images instead.

    `pieces` defines the meaning of an id in several pieces: `one` nucleus, or `each` piece is a
    nucleus. The default `ask` refuses maps in which most ids have several pieces.
    """

    suffixes = (".npy",)

    def __init__(self, pieces: Pieces = "ask") -> None:
        self.pieces: Pieces = pieces

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.suffix.lower() not in cls.suffixes or "instances" in path.parts[:-1]:
            return False
        try:
            return open_npy(path).shape[2:] in ((2,), (CHANNELS,))
        except DataError:
            return contains_object(path)  # `read` refuses it with advice

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        mask = map_array(path)
        if mask.shape[2:] not in ((2,), (CHANNELS,)):
            size = " x ".join(map(str, mask.shape))
            raise UnreadablePatch(
                f"not a mask: {path.name} is {size}; store height x width x 2 or {CHANNELS}"
            )
        check_size(mask.shape, shape)
        if mask.shape[2] == CHANNELS:
            return TypedInstances(*merge_channels(mask, path.name))
        instances, types = (to_int32(mask[..., k], path.name) for k in range(2))
        instances, _ = separate_pieces(instances, self.pieces, f"npy:pieces=each ({path.name})")
        return TypedInstances(instances, majority_types(instances, types))
