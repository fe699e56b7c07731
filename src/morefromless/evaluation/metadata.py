"""Metadata of trained encoders: everything needed to use them without the run.

It is in the metadata of the weights file, so it is never lost, and also next to it in
`encoder.json`, for people and other programs.
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
    """The data that an encoder was trained on."""

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
        """Whether no patch has a class, so no task can be evaluated on them."""
        return self.classes == (UNLABELLED,)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Preprocessing of a patch (side, side, 3) uint8 to input (channels, size, size)."""

    side: int | None = None
    """Side in px of the training patches; None for vectors, or if not known."""
    um_per_px: float | None = None
    """Pixel size of the training patches; None if not known, or not the same for all."""
    modality: str
    interpolation: str | None
    """Interpolation of the modality; None if the modality has no such option."""
    size: Annotated[int, Meta(ge=1, le=2**16)]
    """Input side in px."""
    channels: Annotated[int, Meta(ge=1, le=2**20)]
    names: tuple[str, ...] = ()
    """Names of the channels, or of a vector's values, in order; empty if not known."""
    mean: tuple[float, ...] | None
    """Normalisation (x - mean) / std of values in [0, 1], applied inside the encoder; None if the
    encoder does not normalise."""
    std: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class BranchMetadata:
    """Metadata of one encoder in a weights file."""

    encoder: str
    """Specification of its architecture."""
    prefix: str
    """Prefix of the names of its tensors."""
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True)
class EncoderMetadata:
    """Content of `encoder.json`."""

    format: Literal[1] = 1
    branches: dict[str, BranchMetadata]
    head: tuple[str, ...] = ()
    """Classes of a supervised arm's own head, in order."""
    data: TrainingData | None = None
    options: dict[str, Any]
    """Options of its training (`config.to_flat`), without the paths of store and run, and without
    those that do not change a run (`config.Machine`)."""

    def refuse_outside(self, origin: str) -> None:
        """Raise `ConfigError` if it names a class from outside the package."""
        for branch in self.branches.values():
            names = {"encoder": branch.encoder, "primary": branch.preprocessing.modality}
            refuse_outside(names, origin)
        refuse_outside(self.options, origin)


def build_metadata(
    config: RunConfig,
    weights: Mapping[str, Tensor],
    store: Store | None = None,
    head: tuple[str, ...] = (),
) -> EncoderMetadata:
    """Build the metadata of a run's encoders, trained on `store`.

    `weights` are the tensors of its network by name, and `head` are the classes of its own head."""
    if config.arm.supervised:
        size = config.train.size
        branches = {"primary": (config.train.encoder, config.arm.primary, size, "encoder.")}
    else:
        branches = {
            plan.name: (
                plan.encoder,
                plan.modality,
                plan.size,
                f"branches.by_key.{plan.key}.encoder.",
            )
            for plan in plan_branches(config)
            if plan.name in config.arm.encoders
        }
    excluded = {"store", "out", *vars(config.machine)}
    options = {name: value for name, value in to_flat(config).items() if name not in excluded}
    return EncoderMetadata(
        branches={
            name: BranchMetadata(
                encoder=without_weights(encoder),
                prefix=prefix,
                preprocessing=_preprocessing(spec, size, prefix, weights, store),
            )
            for name, (encoder, spec, size, prefix) in branches.items()
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
    """Read the metadata of a safetensors file; None if it has no encoder metadata.

    Raises `ConfigError` if the file is not a safetensors file, or its metadata is damaged.
    """
    try:
        with safe_open(weights, "pt") as file:
            text = (file.metadata() or {}).get(ENCODER_KEY)
        return None if text is None else parse_json(text, EncoderMetadata)
    except (SafetensorError, ValueError) as error:
        raise ConfigError(
            f"{weights} is damaged or not a safetensors file ({error}); download it again, or give "
            "a file that was saved as safetensors."
        ) from error
