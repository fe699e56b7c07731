"""Type schemes: the types of nuclei, and the names that files use for them."""

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
"""Type of a nucleus as in its file: a number or a name."""


def _fold_name(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).replace("_", " ").casefold().split())


@dataclass(frozen=True)
class Scheme:
    """Types by code: code k is `types[k]`; 0 is the background, or a nucleus without a type.

    `aliases` maps additional raw types, which are neither codes nor type names, to type names.
    """

    name: str
    types: tuple[str, ...]
    aliases: Mapping[RawType, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 2 <= len(self.types) <= 256 or len(self._codes) < len(self.types):
            raise ConfigError(
                f"Scheme '{self.name}' needs 2 to 256 types with different names, background first."
            )
        unknown = [name for name in self.aliases.values() if _fold_name(name) not in self._codes]
        if unknown:
            raise ConfigError(
                f"Scheme '{self.name}' maps to '{unknown[0]}', which is not one of its types "
                f"({', '.join(self.types)})."
            )

    def code(self, raw: RawType) -> int:
        """The code of a raw type. Raises `UnreadablePatch` if the scheme does not have it.

        >>> PANNUKE.code("neoplastic cells"), PANNUKE.code(2), CONSEP_SEVEN.code(7)
        (1, 2, 4)
        """
        if raw in self.aliases:
            return self._codes[_fold_name(self.aliases[raw])]
        if isinstance(raw, str):
            name = _fold_name(self._folded_aliases.get(_fold_name(raw), raw))
            if name in self._codes:
                return self._codes[name]
            raw = int(name) if name.isascii() and name.isdigit() else raw
        # If aliases contain numbers, they list every valid number.
        numbered = any(isinstance(key, int) for key in self.aliases)
        if isinstance(raw, int) and (raw == 0 or (0 <= raw < len(self.types) and not numbered)):
            return raw
        raise UnreadablePatch(
            f"type outside the scheme: '{raw}' is not in {self.name} ({', '.join(self.types)}); "
            "set --scheme to a scheme or a YAML file that maps it"
        )

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "types": list(self.types)}

    # Computed once per scheme: `code` is called for every nucleus of every patch.
    @cached_property
    def _codes(self) -> dict[str, int]:
        return {_fold_name(name): code for code, name in enumerate(self.types)}

    @cached_property
    def _folded_aliases(self) -> dict[str, str]:
        return {_fold_name(str(raw)): name for raw, name in self.aliases.items()}


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
"""PanNuke's six types, as in the paper (2.1), with the names that HoVer-Net, TIAToolbox and QuPath
users write."""

CONSEP = Scheme("consep", ("Background", "Miscellaneous", "Inflammatory", "Epithelial", "Spindle"))
"""CoNSeP's four merged types, as in Graham et al. 2019: healthy and malignant epithelium are one
type; fibroblasts, muscle and endothelium are another."""

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
"""Maps the seven types of the published CoNSeP files to the four merged types."""

CONIC = Scheme(
    "conic",
    ("Background", "Neutrophil", "Epithelial", "Lymphocyte", "Plasma", "Eosinophil", "Connective"),
    {
        "Epithelial-cell": "Epithelial",
        "Plasma-cell": "Plasma",
        "Connective-tissue-cell": "Connective",
    },
)
"""Six types of colonic nuclei of Lizard and CoNIC, also with the names that HoVer-NeXt writes."""

UNTYPED = Scheme("untyped", ("Background", "Nucleus"))
"""Nuclei without types (StarDist, cellpose, QuPath's plain detections): every nucleus has code 1,
regardless of its type in the file. They can be a view, but not the labels of the task `cell`."""

SCHEMES = {scheme.name: scheme for scheme in (PANNUKE, CONSEP, CONSEP_SEVEN, CONIC, UNTYPED)}


def load_scheme(name: str) -> Scheme:
    """Get a scheme by name, or load it from a YAML file:

        name: immune
        types: [Background, Tumour, Immune, Other]
        aliases: {1: Tumour, Lymphocyte: Immune, Stroma: Other}

    Raises `ConfigError` if `name` is neither.
    """
    if name in SCHEMES:
        return SCHEMES[name]
    path = Path(name).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"'{name}' is neither a scheme ({', '.join(SCHEMES)}) nor a file; a file has the keys "
            "name, types (background first) and aliases (raw type in your files: type)."
        )
    try:
        content = parse_yaml(read_regular(path))
        return _parse(content, path.stem)
    except (UnreadablePatch, ValueError) as error:
        raise ConfigError(
            f"{path} is not a scheme ({error}); it must have the keys name, types (a list, "
            "background first) and aliases (raw type in your files: type)."
        ) from error


def _parse(content: Any, name: str) -> Scheme:
    if not isinstance(content, dict) or not isinstance(content.get("types"), list):
        raise ValueError("no list of types")
    unknown = [key for key in content if key not in ("name", "types", "aliases")]
    if unknown:
        raise ValueError(f"unknown key '{unknown[0]}'")
    types, aliases = content["types"], content.get("aliases") or {}
    if not isinstance(aliases, dict):
        raise ValueError("aliases are not a mapping")
    names = (content.get("name", name), *types, *aliases.values())
    raw_types = (kind for kind in aliases if type(kind) is not int)
    if not all(isinstance(text, str) and text.isprintable() for text in (*names, *raw_types)):
        raise ValueError("a name is not printable text")
    return Scheme(content.get("name", name), tuple(types), aliases)
