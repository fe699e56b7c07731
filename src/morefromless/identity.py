"""Identity of a run: the record of what determines it, and the key and name derived from it."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

import morefromless
from morefromless.config import DEFAULTS, RunConfig, differences
from morefromless.files import file_hash
from morefromless.spec_values import parse_arguments
from morefromless.specs import split

RECIPE_VERSION = 1
"""Version of training; increased when the same options on the same data give other weights."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Contents of run.json."""

    key: str
    """Hash of everything that determines the weights (`run_key`)."""
    recipe: int
    options: dict[str, Any]
    """Flat mapping (`config.to_flat`); `store` is relative to the run's folder, so that both can be
    moved together."""
    store_hash: str
    versions: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)
    """Facts of a finished run: seconds, steps, device, weights (their hash) ..."""

    def difference(self, options: Mapping[str, Any], store_hash: str) -> str:
        """Describe how a run of these options and data, with another key, differs from this run."""
        if self.store_hash != store_hash:
            return "made from other data"
        if self.recipe != RECIPE_VERSION:
            version = self.versions.get("morefromless", "?")
            return f"made by morefromless {version}, which trains differently"
        training_options = {name: value for name, value in options.items() if name in DEFAULTS}
        return "; ".join(differences(self.options, training_options)) or "other initial weights"


def with_run_folder(config: RunConfig, folder: Path, store_hash: str) -> RunConfig:
    """Set `out` to the run's folder below `folder`, whose name is derived from the run's identity.

    Studies with the same `folder` therefore share the runs that they have in common.
    """
    arm = config.arm
    words = [
        *map(file_name, arm.words),
        file_name(arm.primary),
        f"s{config.seed}",
        run_key(config, store_hash)[:6],
    ]
    return replace(config, out=folder / "-".join(words))


def run_key(config: RunConfig, store_hash: str) -> str:
    """Return twelve hex digits of the hash of what determines a run: options that differ from the
    defaults, the contents of weight files that they name, the data, and `RECIPE_VERSION`."""
    identity = json.loads(json.dumps(config.identity()))
    weights = {}
    for name in ("encoder", "privileged_encoder", "teacher"):
        path = weights_file(str(identity.get(name, "")))
        if path:
            facts = path.stat()
            weights[name] = _cached_hash(path.absolute(), facts.st_size, facts.st_mtime_ns)
    text = json.dumps([RECIPE_VERSION, identity, weights, store_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Versions of the software that trains and evaluates."""
    return {
        "morefromless": morefromless.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def file_name(spec: str) -> str:
    """Convert a specification to a part of a file name: `downsample:7` -> `downsample-7`."""
    name = "".join(c if c.isalnum() else "-" for c in spec).strip("-")
    if len(name) <= 100:
        return name
    return f"{name[:80]}-{hashlib.blake2b(spec.encode(), digest_size=4).hexdigest()}"


@cache
def _cached_hash(path: Path, size: int, changed: int) -> str:  # noqa: ARG001
    """Hash of a file, cached by size and modification time: many runs may use one large file."""
    return file_hash(path)


def weights_file(spec: str) -> Path | None:
    """Return the weights file that an encoder's specification names, if it exists."""
    paths = (Path(value) for name, value in parse_arguments(split(spec)[1]) if name == "weights")
    return next((path for path in paths if path.is_file()), None)
