"""Settings that all experiments share: those of a scale, and the user's options."""

from dataclasses import dataclass
from typing import Any, Literal

from morefromless.config import ReproduceConfig, StudyConfig, from_flat
from morefromless.data.labels import tissue_classes
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.pairs import build_modality

Protocol = Literal["text", "authors"]


@dataclass(frozen=True)
class Scale:
    """Settings for one size of data and machine."""

    about: str
    recipe: dict[str, Any]
    """Options of every run: size, encoder, width, epochs, batch, lr, seeds, probe_every ..."""
    sides: tuple[int, ...]
    """Sides of down-sampled patches in px, smaller than the whole patch."""
    encoders: dict[str, str]
    """Encoders of Table S2: name in the paper to name in an option."""


SCALES: dict[str, Scale] = {
    "smoke": Scale(
        "Synthetic tissue and a small network that learns nothing in its one epoch: checks in "
        "minutes that everything runs.",
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

AUTHORS_OBJECTIVES: dict[str, str] = {"vicreg": "vicreg:authors", "simclr": "simclr:authors"}
"""Objectives as in the authors' code."""


@dataclass(frozen=True, eq=False)
class Setting:
    """Scale, store and folder of one reproduction; builds its study configurations."""

    config: ReproduceConfig
    store: Store
    recipe: dict[str, Any]
    """Options of all studies that differ from the defaults."""
    sides: tuple[int, ...]
    encoders: dict[str, str]
    tasks: tuple[str, ...]
    """The tasks among tissue and cell that the store supports."""
    masks: str | None
    """The modality of nuclei masks; None if the store contains no nuclei."""
    whole: str = "full"
    """The modality of the whole patch."""

    @classmethod
    def of(cls, config: ReproduceConfig, store: Store) -> "Setting":
        """Build the setting from options. Raises `ConfigError` if the options cannot work."""
        scale = SCALES[config.scale]
        options = {name: getattr(config, name) for name in RECIPE_OPTIONS}
        recipe = {**scale.recipe, **{k: v for k, v in options.items() if v is not None}}
        if config.protocol == "authors":
            recipe["views"] = "authors"
            recipe.setdefault("encoder", "keras-v1")
            recipe["epsilon"], recipe["clip_each"] = 1e-7, 1.0
        sides = config.sides or tuple(side for side in scale.sides if side < store.side)
        if not sides:
            raise ConfigError(
                f"Patches of {store.path} are {store.side} px, so they cannot be down-sampled to "
                f"any of {scale.sides} px; give --sides."
            )
        encoders = scale.encoders
        if config.encoders:
            papers = {spec: name for name, spec in SCALES["paper"].encoders.items()}
            encoders = {papers.get(name, name): name for name in config.encoders}
        masks = None
        if store.meta.scheme:
            raw = "raw," if config.protocol == "authors" else ""
            spec = f"nuclei:{raw}types={len(store.scheme.types)}"
            masks = build_modality(spec).spec
        tissue = len(tissue_classes(store.classes)) > 1
        tasks = (("tissue",) if tissue else ()) + (("cell",) if masks else ())
        return cls(config, store, recipe, sides, encoders, tasks, masks)

    def downsampled(self, side: int) -> str:
        """The modality of the patch down-sampled to `side` px, in the protocol's convention."""
        point = self.config.protocol == "authors"
        return f"downsample:{side}" + (",point" if point else "")

    def objective(self, name: str) -> str:
        """`vicreg` or `simclr` in the protocol's convention."""
        return AUTHORS_OBJECTIVES.get(name, name) if self.config.protocol == "authors" else name

    @property
    def sparsest(self) -> str:
        """The modality with the fewest pixels, 7 x 7 in the paper."""
        return self.downsampled(min(self.sides))

    def study(self, name: str, **options: Any) -> StudyConfig:
        """A study with its own folder, and with a folder of runs that all studies share."""
        defaults = {
            "objectives": (self.objective("vicreg"),),
            "privileged": self.whole,
            "tasks": self.tasks[:1],
        }
        places = {
            "store": self.store.path,
            "out": self.config.out / name,
            "runs": self.config.out / "runs",
        }
        return from_flat(StudyConfig, {**defaults, **self.recipe, **places, **options}, name)


RECIPE_OPTIONS = (
    "size",
    "encoder",
    "width",
    "epochs",
    "supervised_epochs",
    "batch",
    "lr",
    "seeds",
    "probe_every",
    "standardise",
    "precision",
    "device",
    "workers",
    "jobs",
)
"""Names of the options that override those of a scale."""
