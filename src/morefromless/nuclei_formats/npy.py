"""Arrays of one image each, in CoNIC's or PanNuke's layout."""

from pathlib import Path

from morefromless.data.arrays import mapped
from morefromless.data.masks import majority, same_size, whole
from morefromless.data.pannuke_masks import CHANNELS, unpacked
from morefromless.errors import DataError, UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat, TypedInstances


class Npy(NucleiFormat):
    """(H, W, 2): instance and type, as in CoNIC; (H, W, 6): a channel of instances for each type,
    as in PanNuke. Files in a folder `instances` are label images instead.
    """

    suffixes = (".npy",)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        if path.suffix.lower() not in cls.suffixes or "instances" in path.parts[:-1]:
            return False
        try:
            return mapped(path).shape[2:] in ((2,), (CHANNELS,))
        except DataError:
            return False

    def read(self, path: Path, shape: tuple[int, int]) -> TypedInstances:
        try:
            mask = mapped(path)
        except DataError as error:
            raise UnreadablePatch(f"unreadable: {error}") from error
        if mask.shape[2:] not in ((2,), (CHANNELS,)):
            held = " x ".join(map(str, mask.shape))
            raise UnreadablePatch(
                f"not a mask: {path.name} is {held}; store height x width x 2 or {CHANNELS}"
            )
        same_size(mask.shape, shape)
        if mask.shape[2] == CHANNELS:
            return TypedInstances(*unpacked(mask, path.name))
        instances, types = (whole(mask[..., k], path.name) for k in range(2))
        return TypedInstances(instances, majority(instances, types))
