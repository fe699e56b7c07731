"""References: published encoders, frozen, as rows beside those that a study trains.

They were trained on other data and at another scale, so they say how far a study's encoders are
from what is to be had, not what the privileged modality bought: nothing is contrasted with them.
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
    """Such as `resnet18 at 224 px`, or `resnet18 (FILE) at 224 px` with weights of a local file."""
    frozen: FrozenEncoder

    @classmethod
    def load(cls, spec: str, size: int | None = None, features: Path | None = None) -> "Reference":
        """The encoder that `spec` names, such as `resnet18:pretrained=true`, at `size` px,
        by default its own; its representations are shared with others in `features`.

        Raises `ConfigError` where there is no such encoder, or it has no weights.
        """
        frozen = load_encoder(spec)
        if frozen.config is not None:
            raise ConfigError(
                f"--references {spec} is a run or an exported encoder; give a published one, such "
                "as resnet18:pretrained=true, or compare runs with mfl explain."
            )
        frozen = replace(frozen, size=size or frozen.size, shared=features)
        name = normalise_encoder(spec, without=("pretrained", "weights", "mean", "std"))
        file = weights_file(spec)
        words = [name, *([f"({file.stem})"] if file else []), f"at {frozen.size} px"]
        return cls(" ".join(words), frozen)

    def views(self, modalities: Sequence[str], folder: Path) -> Iterator[FrozenEncoder]:
        """The encoder on each of these modalities; what is computed is cached in `folder`."""
        for spec in modalities:
            place = folder / f"{file_name(self.title)}-{file_name(spec)}"
            yield replace(self.frozen, modality_spec=spec, name="reference", folder=place)


def takes_references(spec: str) -> bool:
    """Whether published encoders, which take images of three channels, can be asked a modality.

    >>> takes_references("downsample:7"), takes_references("vector:1000")
    (True, False)
    """
    modality = build_modality(spec)
    return not modality.vector and modality.channels == 3


def load_references(config: StudyConfig) -> list[Reference]:
    """The published encoders of a study, each once: --references, and the teacher of its students.

    Raises `ConfigError` where one cannot be had, or two could not be told apart in a table.
    """
    references = [(spec, Reference.load(spec)) for spec in config.references]
    teacher = config.pairing.teacher
    if config.distillation and teacher:
        size = config.pairing.teacher_size or config.train.size
        references.append((teacher, Reference.load(teacher, size, config.frozen_folder)))
    once: dict[str, tuple[str, Reference]] = {}
    for spec, reference in references:
        first, _ = once.setdefault(reference.title, (spec, reference))
        if first != spec:
            raise ConfigError(
                f"The references {first} and {spec} would both be called '{reference.title}'; "
                "give the files of weights different names."
            )
    return [reference for _, reference in once.values()]


def check_references(config: StudyConfig) -> None:
    """Load each once, before anything is trained.

    Raises `ConfigError` as `load_references` does, and where one does not turn an image of its size
    into one vector.
    """
    for spec, reference in zip(config.references, load_references(config), strict=False):
        size = reference.frozen.size
        check_encoder(spec, (3, size, size))
