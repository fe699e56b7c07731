"""References: published encoders, frozen, as rows beside those that a study trains.

They were trained on other data and at another scale, so they say how far a study's encoders are
from what is to be had, not what the privileged modality bought: nothing is contrasted with them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from morefromless.branches import check_encoder, normalise_encoder
from morefromless.errors import ConfigError
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.loading import load_encoder
from morefromless.identity import file_name, weights_file
from morefromless.pairs import modality


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
    how = modality(spec)
    return not how.vector and how.channels == 3


def check_references(specs: Sequence[str]) -> None:
    """Load each reference once, before anything is trained.

    Raises `ConfigError` where one cannot be had, does not turn an image of its size into one
    vector, or two could not be told apart in a table.
    """
    titles: dict[str, str] = {}
    for spec in specs:
        reference = Reference.load(spec)
        if reference.title in titles:
            raise ConfigError(
                f"The references {titles[reference.title]} and {spec} would both be called "
                f"'{reference.title}'; give the files of weights different names."
            )
        titles[reference.title] = spec
        size = reference.frozen.size
        check_encoder(spec, (3, size, size))
