"""Type schemes: which types of nuclei there are, and what files call them."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from morefromless.documents import parse_yaml
from morefromless.errors import ConfigError, UnreadablePatch
from morefromless.regular import read_regular

RawType = int | str
"""The type of a nucleus as a file gives it: a number or a name."""


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").casefold().split())


@dataclass(frozen=True)
class Scheme:
    """Types by their codes: code k is `types[k]`, and 0 is none, or a nucleus without a type.

    `aliases` maps further raw types, neither codes nor names of types, to a type's name.
    """

    name: str
    types: tuple[str, ...]
    aliases: Mapping[RawType, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 2 <= len(self.types) <= 256 or len(set(map(_folded, self.types))) < len(self.types):
            raise ConfigError(
                f"Scheme '{self.name}' needs 2 to 256 types with different names, background first."
            )
        unknown = [name for name in self.aliases.values() if _folded(name) not in self._named]
        if unknown:
            raise ConfigError(
                f"Scheme '{self.name}' maps to '{unknown[0]}', which is not one of its types "
                f"({', '.join(self.types)})."
            )

    def code(self, raw: RawType) -> int:
        """The code of a raw type. Raises `UnreadablePatch` for what the scheme lacks.

        >>> PANNUKE.code("neoplastic cells"), PANNUKE.code(2), CONSEP_SEVEN.code(7)
        (1, 2, 4)
        """
        if raw in self.aliases:
            return self._named[_folded(self.aliases[raw])]
        if isinstance(raw, str):
            name = _folded(self._folded_aliases.get(_folded(raw), raw))
            if name in self._named:
                return self._named[name]
            raw = int(name) if name.isascii() and name.isdigit() else raw
        # Aliases with numbers list every number: another one is a mistake.
        numbered = any(isinstance(key, int) for key in self.aliases)
        if isinstance(raw, int) and (raw == 0 or (0 <= raw < len(self.types) and not numbered)):
            return raw
        raise UnreadablePatch(
            f"type outside the scheme: '{raw}' is not in {self.name} ({', '.join(self.types)}); "
            "give --scheme, or a file that maps it"
        )

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "types": list(self.types)}

    # Once a scheme: every nucleus of every patch asks for its code.
    @cached_property
    def _named(self) -> dict[str, int]:
        return {_folded(name): code for code, name in enumerate(self.types)}

    @cached_property
    def _folded_aliases(self) -> dict[str, str]:
        return {_folded(str(raw)): name for raw, name in self.aliases.items()}


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
    {
        "Epithelial-cell": "Epithelial",
        "Plasma-cell": "Plasma",
        "Connective-tissue-cell": "Connective",
    },
)
"""Lizard's and CoNIC's six types of colonic nuclei; names as HoVer-NeXt writes them too."""

UNTYPED = Scheme("untyped", ("Background", "Nucleus"))
"""Nuclei without types (StarDist, cellpose, QuPath's plain detections): whatever a file gives for
a type, code 1. They make a view; the task `cell` has nothing to ask."""

SCHEMES = {scheme.name: scheme for scheme in (PANNUKE, CONSEP, CONSEP_SEVEN, CONIC, UNTYPED)}


def scheme_of(name: str) -> Scheme:
    """A scheme by its name, or from a YAML file:

        name: immune
        types: [Background, Tumour, Immune, Other]
        aliases: {1: Tumour, Lymphocyte: Immune, Stroma: Other}

    Raises `ConfigError` for what is neither.
    """
    if name in SCHEMES:
        return SCHEMES[name]
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"'{name}' is neither a scheme ({', '.join(SCHEMES)}) nor a file; a file holds "
            "name, types (background first) and aliases (raw type in your files: type)."
        )
    try:
        content = parse_yaml(read_regular(path))
        return _parsed(content, path.stem)
    except (UnreadablePatch, ValueError) as error:
        raise ConfigError(
            f"{path} is not a scheme ({error}); it should hold name, types (a list, background "
            "first) and aliases (raw type in your files: type)."
        ) from error


def _parsed(content: Any, name: str) -> Scheme:
    if not isinstance(content, dict) or not isinstance(content.get("types"), list):
        raise ValueError("no list of types")
    unknown = [key for key in content if key not in ("name", "types", "aliases")]
    if unknown:
        raise ValueError(f"unknown key '{unknown[0]}'")
    types, aliases = content["types"], content.get("aliases") or {}
    if not isinstance(aliases, dict):
        raise ValueError("aliases are no mapping")
    names = (content.get("name", name), *types, *aliases.values())
    raw_types = (kind for kind in aliases if type(kind) is not int)
    if not all(isinstance(text, str) and text.isprintable() for text in (*names, *raw_types)):
        raise ValueError("a name that is no text")
    return Scheme(content.get("name", name), tuple(types), aliases)
