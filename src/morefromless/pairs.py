"""Pairs: the modalities of one patch that are trained together, and their augmented views."""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morefromless import modalities, views
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.modalities import Modality
from morefromless.specs import build
from morefromless.views import Views

SHARED_GEOMETRY = 2**16
"""Branch number that seeds the geometry shared by all branches; no branch has this number."""


class Pair:
    """Modalities by branch name, all read from the same stored patches.

    `modalities` maps a branch's name to the specification of its modality, for example
    `{"primary": "downsample:7", "privileged": "full"}`. An asymmetric pair has different
    modalities; a symmetric pair has the same one twice (paper, 2.1). Images have side `size`, or
    the branch's own in `sizes`. With `same_geometry`, the views of a patch share one flip, crop and
    rotation in all branches, for registered modalities. Otherwise each branch draws its own, as in
    the paper.
    """

    def __init__(
        self,
        modalities: Mapping[str, str],
        views: str,
        size: int,
        sizes: Mapping[str, int] = MappingProxyType({}),
        same_geometry: bool = False,
    ) -> None:
        distinct = {spec: build_modality(spec) for spec in modalities.values()}
        self.modalities = {name: distinct[spec] for name, spec in modalities.items()}
        self.views, self.sizes = build_views(views), dict(sizes)
        self.same_geometry = same_geometry
        if same_geometry and "geometry" not in inspect.signature(self.views.augment).parameters:
            raise ConfigError(
                "--same-geometry needs views whose methods have the parameter geometry, but those "
                f"of {views} do not; choose table-s1, stain or authors."
            )
        self.inputs = {
            name: (modality, sizes.get(name, size)) for name, modality in self.modalities.items()
        }

    def check(self, store: Store) -> None:
        """Raise `DataError` or `ConfigError` if the store does not provide a modality, or if a
        branch's own size exceeds that of the patches."""
        for name, modality in self.modalities.items():
            modality.check(store)
            if modality.colour or modality.labels:
                self.views.check(modality.channels, modality.labels)
            stored = store.array(modality.array)
            _check_on_noise(
                modality.spec, self.views.spec, stored.shape[1:], stored.dtype, self.inputs[name][1]
            )
            if modality.vector:
                continue
            side, size = stored.shape[1], self.sizes.get(name, 0)
            if size > side:
                raise ConfigError(
                    f"The input of the {name} branch would be {size} px, but the patches of "
                    f"{store.path} have {side}; give a smaller --privileged-size or --teacher-size."
                )

    @property
    def input_bytes(self) -> int:
        """Bytes of one patch's inputs in 32 bits; an input that branches share counts once."""
        return 4 * sum(
            math.prod(modality.shape(size)) for modality, size in set(self.inputs.values())
        )

    @property
    def arrays(self) -> frozenset[str]:
        """The stored arrays that the modalities read."""
        return frozenset(modality.array for modality in self.modalities.values())

    def render(self, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Stored arrays (B, H, W, 3) uint8 -> each branch's input, (B, C, S, S) in [0, 1]."""
        images = {  # once for branches with the same input
            (modality, size): modality.render(stored[modality.array], size)
            for modality, size in set(self.inputs.values())
        }
        return {name: images[key] for name, key in self.inputs.items()}

    def augment(self, images: Mapping[str, Tensor], *, seed: int, step: int) -> dict[str, Tensor]:
        """Draw one view per branch and patch.

        The randomness depends only on seed, step and the branch's position. So an interrupted run
        draws the same views after it resumes.
        """
        views = {}
        for number, (name, batch) in enumerate(images.items()):
            generator = torch.Generator(device=batch.device)
            generator.manual_seed(derived_seed(seed, step, number))
            draw = augmentation(self.views, self.modalities[name])
            if self.same_geometry and not self.modalities[name].vector:
                geometry = torch.Generator(device=batch.device)
                geometry.manual_seed(derived_seed(seed, step, SHARED_GEOMETRY))
                views[name] = draw(batch, generator, geometry)
            else:
                views[name] = draw(batch, generator)
        return views


@lru_cache(maxsize=64)
def _check_on_noise(
    spec: str, views: str, stored: tuple[int, ...], dtype: np.dtype[Any], size: int
) -> None:
    """Try a modality and a preset on two patches of noise, cached for all runs of a study: nothing
    is read, and large patches take seconds. Raises `ConfigError`."""
    modality = build_modality(spec)
    rng, shape = np.random.default_rng(0), (2, *stored)
    # Vectors are often counts, and a class may take their roots or logarithms.
    noise = rng.integers(0, 256, shape, dtype) if dtype.kind == "u" else rng.random(shape)
    patches = torch.from_numpy(noise.astype(dtype, copy=False))
    _check_views(build_views(views), modality, _check_render(modality, patches, size))


def _check_render(modality: Modality, patches: Tensor, size: int) -> Tensor:
    """Render patches with a modality, which may be a user's class, and check the result.

    Raises `ConfigError` unless the result is images in [0, 1], or finite vectors, of the stated
    shape, and is the same when rendered again.
    """
    images, again = (modality.render(patches.clone(), size) for _ in range(2))
    low, high = images.aminmax()
    inside = bool(images.isfinite().all()) if modality.vector else bool(0 <= low <= high <= 1)
    if images.shape != (2, *modality.shape(size)) or not inside:
        raise ConfigError(
            f"The modality {modality.spec} renders {tuple(images.shape[1:])} from {low:g} to "
            f"{high:g} of a patch; its render must give {modality.shape(size)} "
            f"{'of finite numbers' if modality.vector else 'in [0, 1]'}."
        )
    if not torch.equal(images, again):
        raise ConfigError(
            f"The modality {modality.spec} renders the same patch in two ways; move random "
            "operations to the views."
        )
    return images


def _check_views(views: Views, modality: Modality, images: Tensor) -> None:
    """Raise `ConfigError` if a preset, which may be a user's class, draws views that violate its
    contract."""
    inputs, draw = images.clone(), augmentation(views, modality)
    drawn, again = (draw(inputs, torch.Generator().manual_seed(0)) for _ in range(2))
    problem = None
    if drawn.shape != images.shape:
        problem = f"have the shape {tuple(drawn.shape)}, not {tuple(images.shape)}"
    elif not modality.vector and not 0 <= drawn.min() <= drawn.max() <= 1:
        problem = f"are from {drawn.min():g} to {drawn.max():g}, not in [0, 1]"
    elif not torch.equal(inputs, images):
        problem = "modify in place their input, which branches share"
    elif not torch.equal(drawn, again):
        problem = "do not depend on the generator alone, so that runs could not be resumed"
    if problem:
        raise ConfigError(
            f"Views of {modality.spec} by --views {views.spec} {problem}; correct the preset."
        )


def augmentation(views: Views, modality: Modality) -> Callable[..., Tensor]:
    """Return the method of a preset that draws views of this kind of modality."""
    if modality.vector:
        return views.augment_vectors
    if modality.labels:
        return views.augment_mask
    return views.augment if modality.colour else views.augment_channels


def channels_last(images: Tensor) -> Tensor:
    """Convert images to the memory layout in which convolutions are fastest; vectors are
    unchanged."""
    if images.ndim != 4:
        return images
    return images.contiguous(memory_format=torch.channels_last)


def build_modality(spec: str) -> Modality:
    """Build the modality that `spec` names, e.g. `downsample:7`."""
    return build(spec, modalities, Modality)


def build_views(spec: str) -> Views:
    """Build the preset of augmentations that `spec` names, e.g. `table-s1`."""
    return build(spec, views, Views)


def derived_seed(*numbers: int) -> int:
    """Derive a well-mixed 63-bit seed from a few numbers (NumPy's SeedSequence)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
