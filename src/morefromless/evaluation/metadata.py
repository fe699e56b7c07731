"""What must be known of trained encoders to use them anywhere.

It stands in the metadata of the weights, which it cannot be parted from, and once more beside them
as `encoder.json`, for people and other programs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta
from safetensors import SafetensorError, safe_open
from torch import Tensor

from morefromless.branch_plans import plan_branches
from morefromless.config import RunConfig, to_flat
from morefromless.data.labels import UNLABELLED, tissue_classes
from morefromless.data.store import Store
from morefromless.documents import parse_json
from morefromless.encoders import ENCODER_KEY, without_weights
from morefromless.errors import ConfigError
from morefromless.pairs import build_modality
from morefromless.specs import refuse_outside


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The patches that an encoder was trained on."""

    store: str
    """Name of the store's folder."""
    hash: str
    title: str
    licence: str
    citation: str
    classes: tuple[str, ...]

    @classmethod
    def of(cls, store: Store) -> "TrainingData":
        sheet = store.meta.datasheet
        return cls(
            store=store.path.absolute().name,
            hash=store.hash,
            title=sheet.title,
            licence=sheet.licence,
            citation=sheet.citation,
            classes=tissue_classes(store.classes),
        )

    @property
    def unlabelled(self) -> bool:
        """Whether none of them has a class, so that they can ask nothing."""
        return self.classes == (UNLABELLED,)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a patch (side, side, 3) uint8 becomes the encoder's input (channels, size, size)."""

    side: int | None = None
    """Of the patches that it was trained on, in px; None of vectors, or where not known."""
    um_per_px: float | None = None
    """Of those patches; None where not known, or not the same for all."""
    modality: str
    interpolation: str | None
    """Of the modality; None where it has none to choose."""
    size: Annotated[int, Meta(ge=1, le=2**16)]
    """Side in px of the images that the encoder takes."""
    channels: Annotated[int, Meta(ge=1, le=2**20)]
    names: tuple[str, ...] = ()
    """Of the channels, or of a vector's values, in their order; empty where not known."""
    mean: tuple[float, ...] | None
    """Subtracted from values in [0, 1], which `std` then divides; None where the encoder does not
    normalise. Both happen inside the encoder."""
    std: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class BranchMetadata:
    """One encoder among the weights."""

    encoder: str
    """Specification of its architecture."""
    prefix: str
    """How the names of its tensors begin."""
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True)
class EncoderMetadata:
    """What `encoder.json` holds."""

    format: Literal[1] = 1
    branches: dict[str, BranchMetadata]
    head: tuple[str, ...] = ()
    """Classes of a supervised arm's own head, in its order."""
    data: TrainingData | None = None
    options: dict[str, Any]
    """How it was trained (`config.to_flat`), without the places of store and run, and without what
    changes no run (`config.Machine`)."""

    def refuse_outside(self, origin: str) -> None:
        """Raise `ConfigError` where it names a class from outside the package."""
        for branch in self.branches.values():
            names = {"encoder": branch.encoder, "primary": branch.preprocessing.modality}
            refuse_outside(names, origin)
        refuse_outside(self.options, origin)


def describe(
    config: RunConfig,
    weights: Mapping[str, Tensor],
    store: Store | None = None,
    head: tuple[str, ...] = (),
) -> EncoderMetadata:
    """What is known of a run's encoders, trained on `store`; `weights` are its network's, by name,
    and `head` the classes of its own head."""
    if config.arm.supervised:
        size = config.train.size
        places = {"primary": (config.train.encoder, config.arm.primary, size, "encoder.")}
    else:
        places = {
            plan.name: (
                plan.encoder,
                plan.modality,
                plan.size,
                f"branches.by_key.{plan.key}.encoder.",
            )
            for plan in plan_branches(config)
            if plan.name in config.arm.encoders
        }
    passing = {"store", "out", *vars(config.machine)}
    options = {name: value for name, value in to_flat(config).items() if name not in passing}
    return EncoderMetadata(
        branches={
            name: BranchMetadata(
                encoder=without_weights(encoder),
                prefix=prefix,
                preprocessing=_preprocessing(spec, size, prefix, weights, store),
            )
            for name, (encoder, spec, size, prefix) in places.items()
        },
        head=head,
        data=None if store is None else TrainingData.of(store),
        options=options,
    )


def _preprocessing(
    spec: str, size: int, prefix: str, weights: Mapping[str, Tensor], store: Store | None
) -> Preprocessing:
    modality = build_modality(spec)
    images = None if store is None or modality.vector else store
    mean, std = (
        tuple(weights[prefix + name].flatten().tolist()) if prefix + name in weights else None
        for name in ("mean", "std")
    )
    return Preprocessing(
        side=int(images.array(modality.array).shape[1]) if images else None,
        um_per_px=images.scale(modality.array) if images else None,
        modality=spec,
        interpolation=getattr(modality, "interpolation", None),
        size=size,
        channels=modality.channels,
        names=store.meta.arrays[modality.array].channels if store else (),
        mean=mean,
        std=std,
    )


def read_metadata(weights: Path) -> EncoderMetadata | None:
    """What stands in the metadata of a safetensors file; None where nothing of ours does.

    Raises `ConfigError` where the file is no safetensors, or its metadata is damaged.
    """
    try:
        with safe_open(weights, "pt") as file:
            text = (file.metadata() or {}).get(ENCODER_KEY)
        return None if text is None else parse_json(text, EncoderMetadata)
    except (SafetensorError, ValueError) as error:
        raise ConfigError(
            f"{weights} is damaged or no safetensors file ({error}); fetch it again, or give a "
            "file that was saved as safetensors."
        ) from error
