"""References: published frozen encoders, as additional rows of a study's tables.

They were trained on other data and at another scale. They show how a study's encoders compare with
available encoders, not what the privileged modality gained. There are no contrasts with them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from morefromless.config import StudyConfig
from morefromless.encoders import check_encoder, normalise_encoder
from morefromless.errors import ConfigError
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.loading import load_encoder
from morefromless.identity import file_name, weights_file
from morefromless.pairs import build_modality


@dataclass(frozen=True, eq=False)
class Reference:
    """A published encoder."""

    title: str
    """Such as `resnet18 at 224 px`, or `resnet18 (FILE) at 224 px` with weights from a file."""
    frozen: FrozenEncoder

    @classmethod
    def load(cls, spec: str, size: int | None = None, features: Path | None = None) -> "Reference":
        """Load the encoder that `spec` names, such as `resnet18:pretrained=true`.

        `size` is the input side in px, by default the encoder's own. `features` is a shared cache
        folder for representations. Raises `ConfigError` if there is no such encoder, or it has no
        pretrained weights.
        """
        frozen = load_encoder(spec)
        if frozen.config is not None:
            raise ConfigError(
                f"--references {spec} is a run or an exported encoder; give a published one, such "
                "as resnet18:pretrained=true, or compare runs with mfl explain."
            )
        frozen = replace(frozen, size=size or frozen.size, shared_cache=features)
        name = normalise_encoder(spec, without=("pretrained", "weights", "mean", "std"))
        file = weights_file(spec)
        words = [name, *([f"({file.stem})"] if file else []), f"at {frozen.size} px"]
        return cls(" ".join(words), frozen)

    def encoders(self, modalities: Sequence[str], folder: Path) -> Iterator[FrozenEncoder]:
        """Yield the encoder for each of these modalities; results are cached in `folder`."""
        for spec in modalities:
            encoder_folder = folder / f"{file_name(self.title)}-{file_name(spec)}"
            yield replace(self.frozen, modality_spec=spec, name="reference", folder=encoder_folder)


def supports_references(spec: str) -> bool:
    """Whether a modality suits published encoders, which take images of three channels.

    >>> supports_references("downsample:7"), supports_references("vector:1000")
    (True, False)
    """
    modality = build_modality(spec)
    return not modality.vector and modality.channels == 3


def load_references(config: StudyConfig) -> list[Reference]:
    """Load the published encoders of a study, each once: --references and the distillation teacher.

    Raises `ConfigError` if an encoder is not available, or if two would have the same title.
    """
    references = [(spec, Reference.load(spec)) for spec in config.references]
    teacher = config.pairing.teacher
    if config.distillation and teacher:
        size = config.pairing.teacher_size or config.train.size
        references.append((teacher, Reference.load(teacher, size, config.frozen_folder)))
    by_title: dict[str, tuple[str, Reference]] = {}
    for spec, reference in references:
        first_spec, _ = by_title.setdefault(reference.title, (spec, reference))
        if first_spec != spec:
            raise ConfigError(
                f"The references {first_spec} and {spec} would both be called '{reference.title}'; "
                "give the weight files different names."
            )
    return [reference for _, reference in by_title.values()]


def check_references(config: StudyConfig) -> None:
    """Check the references before anything is trained.

    Raises `ConfigError` like `load_references`, and if an encoder does not map an image of its size
    to one vector.
    """
    for spec, reference in zip(config.references, load_references(config), strict=False):
        size = reference.frozen.size
        check_encoder(spec, (3, size, size))
