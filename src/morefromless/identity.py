"""What determines a run: its record, and the key and the name that it has by it."""

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

RECIPE = 1
"""Raised whenever the same options on the same data would train to other weights."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What run.json holds."""

    key: str
    """Of what determines the weights (`run_key`)."""
    recipe: int
    options: dict[str, Any]
    """Flat (`config.to_flat`); `store` is relative to the run's folder, so that the two can be
    moved together."""
    store_hash: str
    versions: dict[str, str]
    facts: dict[str, Any] = field(default_factory=dict)
    """Of a finished run: seconds, steps, device, weights (their hash) ..."""

    def difference(self, options: Mapping[str, Any], store_hash: str) -> str:
        """What tells a run of these options and data from this one, which has another key."""
        if self.store_hash != store_hash:
            return "made from other data"
        if self.recipe != RECIPE:
            version = self.versions.get("morefromless", "?")
            return f"made by morefromless {version}, which trains otherwise"
        counted = {name: value for name, value in options.items() if name in DEFAULTS}
        return "; ".join(differences(self.options, counted)) or "other weights to begin from"


def with_run_folder(config: RunConfig, folder: Path, store_hash: str) -> RunConfig:
    """The config with `out` set to the run's folder below `folder`, named after what determines it.

    So studies with the same `folder` share every run that they have in common.
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
    """Twelve hex digits of the hash of what determines a run: options that differ from the
    defaults, the contents of weight files that they name, the data, and `RECIPE`."""
    identity = json.loads(json.dumps(config.identity()))
    weights = {}
    for name in ("encoder", "privileged_encoder", "teacher"):
        path = weights_file(str(identity.get(name, "")))
        if path:
            facts = path.stat()
            weights[name] = _hash_at(path.absolute(), facts.st_size, facts.st_mtime_ns)
    text = json.dumps([RECIPE, identity, weights, store_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Of what trains and evaluates here."""
    return {
        "morefromless": morefromless.__version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def file_name(spec: str) -> str:
    """A specification as a part of a file name: `downsample:7` -> `downsample-7`."""
    name = "".join(c if c.isalnum() else "-" for c in spec).strip("-")
    if len(name) <= 100:
        return name
    return f"{name[:80]}-{hashlib.blake2b(spec.encode(), digest_size=4).hexdigest()}"


@cache
def _hash_at(path: Path, size: int, changed: int) -> str:  # noqa: ARG001
    """Hash of a file of this size and time of change: many runs may begin from one large file."""
    return file_hash(path)


def weights_file(spec: str) -> Path | None:
    """The file that an encoder's specification names, where it names one that exists."""
    for part in spec.split(":", 1)[-1].split(","):
        name, _, value = part.partition("=")
        if name == "weights" and Path(value).is_file():
            return Path(value)
    return None
