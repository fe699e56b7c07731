"""What a scale, and a person beyond it, fixes for all experiments."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.options import CompareOptions, ReproduceOptions, TransferOptions

Protocol = Literal["text", "authors"]


@dataclass(frozen=True)
class Scale:
    """Settings that suit one size of data and machine."""

    about: str
    recipe: dict[str, Any]
    """Of every run: size, encoder, width, epochs, batch, lr, seeds, probe_every, standardise."""
    sides: tuple[int, ...]
    """Down-sampled sides in px, below the whole patch."""
    encoders: dict[str, str]
    """Table S2's, as the paper calls them and as they are typed."""


SCALES: dict[str, Scale] = {
    "smoke": Scale(
        "Synthetic tissue and a network that learns nothing: that everything runs, in minutes.",
        {
            "size": 32,
            "encoder": "test_resnet",
            "width": 32,
            "epochs": 1,
            "batch": 32,
            "lr": 1e-3,
            "seeds": 1,
            "standardise": True,
            "device": "cpu",
        },
        (4,),
        {"ResNet50": "test_resnet", "EfficientNetB0": "test_efficientnet"},
    ),
    "small": Scale(
        "Any store: hours on two CPU cores, minutes on a GPU. A small network at 32 px.",
        {
            "size": 32,
            "encoder": "test_resnet",
            "width": 256,
            "epochs": 24,
            "batch": 64,
            "lr": 1e-3,
            "seeds": 3,
            "probe_every": 150,
            "standardise": True,
        },
        (14, 7),
        {"ResNet50": "test_resnet", "EfficientNetB0": "test_efficientnet"},
    ),
    "paper": Scale(
        "NCT-CRC-HE-100K, tested on CRC-VAL-HE-7K: ResNet-50, 224 px, 100 epochs. A run took the "
        "authors 8 hours on an A6000.",
        {"seeds": 4, "probe_every": 3905},
        (112, 56, 28, 14, 7),
        {
            "ResNet50": "resnet50",
            "MobileNetV2": "mobilenetv2_100",
            "EfficientNetB0": "efficientnet_b0",
            "Xception": "legacy_xception",
        },
    ),
}

AUTHORS: dict[str, str] = {"vicreg": "vicreg:authors", "simclr": "simclr:authors"}
"""Objectives as the authors' code has them."""


@dataclass(frozen=True, eq=False)
class Setting:
    """One reproduction: its scale, store and folder, and how a study is worded in it."""

    scale: str
    store: Store
    out: Path
    protocol: Protocol
    recipe: dict[str, Any]
    sides: tuple[int, ...]
    encoders: dict[str, str]
    tasks: tuple[str, ...]
    """Of tissue and cell, those that the store can pose."""
    masks: str | None
    """The modality of nuclei masks; None where the store holds no nuclei."""
    whole: str = field(default="full")
    """The modality of the whole patch."""

    @classmethod
    def of(cls, options: ReproduceOptions, store: Store) -> "Setting":
        """The setting that options describe. Raises `ConfigError` where they cannot work."""
        scale = SCALES[options.scale]
        said = {f.name: getattr(options, f.name) for f in fields(options) if f.name in RECIPE}
        recipe = {**scale.recipe, **{k: v for k, v in said.items() if v is not None}}
        if options.protocol == "authors":
            recipe["views"] = "authors"
            recipe.setdefault("encoder", "keras-v1")
            recipe["epsilon"], recipe["clip_each"] = 1e-7, 1.0
        sides = options.sides or tuple(side for side in scale.sides if side < store.side)
        if not sides:
            raise ConfigError(
                f"Patches of {store.path} are {store.side} px, so none of {scale.sides} px is a "
                "down-sampling of them; give --sides."
            )
        encoders = scale.encoders
        if options.encoders:
            papers = {typed: name for name, typed in SCALES["paper"].encoders.items()}
            encoders = {papers.get(name, name): name for name in options.encoders}
        masks = None
        if store.meta.get("scheme"):
            raw = "raw," if options.protocol == "authors" else ""
            masks = f"nuclei:{raw}types={len(store.scheme.types)}"
        tasks = (("tissue",) if len(store.classes) > 1 else ()) + (("cell",) if masks else ())
        return cls(
            options.scale,
            store,
            options.out,
            options.protocol,
            recipe,
            sides,
            encoders,
            tasks,
            masks,
        )

    def downsampled(self, side: int) -> str:
        """The patch at `side` px, as the protocol reduces it."""
        point = self.protocol == "authors"
        return f"downsample:{side}" + (",interpolation=point" if point else "")

    def objective(self, name: str) -> str:
        """`vicreg` or `simclr` in the protocol's convention."""
        return AUTHORS.get(name, name) if self.protocol == "authors" else name

    @property
    def sparsest(self) -> str:
        """The modality of the fewest pixels, 7 x 7 in the paper."""
        return self.downsampled(min(self.sides))

    def compare(self, name: str, **given: Any) -> CompareOptions:
        """A comparison of arms in its own folder, with runs that all studies share."""
        usual = {
            "objective": self.objective("vicreg"),
            "privileged": self.whole,
            "task": self.tasks[0],
        }
        return CompareOptions(**{**usual, **self._common(name), **given})

    def transfer(self, name: str, **given: Any) -> TransferOptions:
        """Encoders of two modalities asked several tasks, likewise."""
        return TransferOptions(**{**self._common(name), "tasks": self.tasks, **given})

    def _common(self, name: str) -> dict[str, Any]:
        return {
            **self.recipe,
            "store": self.store.path,
            "out": self.out / name,
            "runs": self.out / "runs",
        }


RECIPE = frozenset(
    {
        "size",
        "encoder",
        "views",
        "epochs",
        "batch",
        "lr",
        "warmup",
        "precision",
        "device",
        "workers",
        "probe_every",
        "checkpoint_every",
        "seeds",
        "width",
        "supervised_epochs",
        "standardise",
        "jobs",
    }
)
"""What a person may say beyond a scale, by the options' own names."""
