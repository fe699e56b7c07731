"""Type schemes: which types of nuclei there are, and what files call them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from morefromless.errors import ConfigError, UnreadablePatch

Told = int | str
"""What a file says a nucleus is: a number or a name."""


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())


@dataclass(frozen=True)
class Scheme:
    """Types by their codes: code k is `types[k]`, and 0 is none, or a nucleus without a type.

    `says` maps what files say, where that is neither a code nor a type's name, to a type's name.
    """

    name: str
    types: tuple[str, ...]
    says: Mapping[Told, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 2 <= len(self.types) <= 256 or len(set(map(_folded, self.types))) < len(self.types):
            raise ConfigError(
                f"Scheme '{self.name}' needs 2 to 256 types with different names, background first."
            )
        strange = [name for name in self.says.values() if _folded(name) not in self._named]
        if strange:
            raise ConfigError(
                f"Scheme '{self.name}' maps to '{strange[0]}', which is not one of its types "
                f"({', '.join(self.types)})."
            )

    def code(self, told: Told) -> int:
        """The code of what a file says. Raises `UnreadablePatch` for what the scheme lacks."""
        if told in self.says:
            return self._named[_folded(self.says[told])]
        if isinstance(told, str):
            said = {_folded(str(key)): name for key, name in self.says.items()}
            name = _folded(said.get(_folded(told), told))
            if name in self._named:
                return self._named[name]
            told = int(name) if name.isascii() and name.isdigit() else told
        # A mapping that speaks of numbers says all of them: another one is a mistake.
        numbered = any(isinstance(key, int) for key in self.says)
        if isinstance(told, int) and (told == 0 or (0 <= told < len(self.types) and not numbered)):
            return told
        raise UnreadablePatch(
            f"type outside the scheme: '{told}' is not in {self.name} ({', '.join(self.types)}); "
            "give --scheme, or a file that maps it"
        )

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "types": list(self.types)}

    @property
    def _named(self) -> dict[str, int]:
        return {_folded(name): code for code, name in enumerate(self.types)}


PANNUKE = Scheme(
    "pannuke",
    ("Background", "Neoplastic", "Inflammatory", "Connective", "Dead", "Non-Neoplastic Epithelial"),
    {
        "Neoplastic cells": "Neoplastic",
        "Inflammatory cells": "Inflammatory",
        "Connective/Soft tissue cells": "Connective",
        "Dead cells": "Dead",
        "Epithelial": "Non-Neoplastic Epithelial",
        "Non-Neoplastic": "Non-Neoplastic Epithelial",
    },
)
"""PanNuke's six, as in the paper (2.1); names as HoVer-Net, TIAToolbox and QuPath users write them.
"""

CONSEP = Scheme("consep", ("Background", "Miscellaneous", "Inflammatory", "Epithelial", "Spindle"))
"""CoNSeP's merged four, as in Graham et al. 2019: healthy and malignant epithelium are one type,
fibroblasts, muscle and endothelium another."""

CONSEP_SEVEN = Scheme(
    "consep-seven",
    CONSEP.types,
    {
        1: "Miscellaneous",
        2: "Inflammatory",
        3: "Epithelial",
        4: "Epithelial",
        5: "Spindle",
        6: "Spindle",
        7: "Spindle",
    },
)
"""CoNSeP's files as published, whose seven types become the merged four."""

CONIC = Scheme(
    "conic",
    ("Background", "Neutrophil", "Epithelial", "Lymphocyte", "Plasma", "Eosinophil", "Connective"),
)
"""Lizard's and CoNIC's six types of colonic nuclei."""

SCHEMES = {scheme.name: scheme for scheme in (PANNUKE, CONSEP, CONSEP_SEVEN, CONIC)}


def scheme_of(name: str) -> Scheme:
    """A scheme by its name, or from a YAML file:

        name: immune
        types: [Background, Tumour, Immune, Other]
        says: {1: Tumour, Lymphocyte: Immune, Stroma: Other}

    Raises `ConfigError` for what is neither.
    """
    if name in SCHEMES:
        return SCHEMES[name]
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"'{name}' is neither a scheme ({', '.join(SCHEMES)}) nor a file; a file holds "
            "name, types (background first) and says (what your files say: type)."
        )
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        types = tuple(str(kind) for kind in held["types"])
        says = {key: str(value) for key, value in (held.get("says") or {}).items()}
        return Scheme(str(held.get("name", path.stem)), types, says)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{path} is not a scheme ({error}); it should hold name, types (a list, background "
            "first) and says (what your files say: type)."
        ) from error
