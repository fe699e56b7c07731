"""Runs: one arm with one seed, in a folder of its own that says what it was made from.

config.yaml           the options; `mfl pretrain --config FOLDER/config.yaml` runs it again
run.json              what determines it (its key), on which data, by which versions, how long
resume.ckpt           while it trains: the state to go on from
weights.safetensors   the trained weights; written last, so its presence means done
curve.csv             learning curve, where one was asked for
logs/                 every term, rate and diagnostic (CSV and TensorBoard)
features/             representations of the frozen encoder
scores-*.json         what a probe made of them
"""

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

import morefromless
from morefromless.data import atomic
from morefromless.errors import ConfigError, TrainingError
from morefromless.options import UNCHANGED

RECIPE = 1
"""Raised whenever the same options on the same data would train to other weights."""


class Run:
    """A run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def begin(cls, kind: str, options: Any, store_hash: str, incidental: frozenset[str]) -> "Run":
        """The run that these options make on these data: new, interrupted or done.

        Raises `ConfigError` where `options.out` holds another run.
        """
        run = cls(Path(options.out))
        settings, key = plain(options), key_of(kind, options, store_hash, incidental)
        if run.record_path.exists():
            if run.record["key"] != key:
                how = _difference(run.record, settings, store_hash)
                raise ConfigError(
                    f"{run.path} holds another run ({how}); give another --out, or remove it."
                )
            return run
        if run.path.exists() and any(run.path.iterdir()):
            raise ConfigError(f"{run.path} is not empty and holds no run; give another --out.")
        run.path.mkdir(parents=True, exist_ok=True)
        atomic.write_text(run.path / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
        atomic.write_json(
            run.record_path,
            {
                "key": key,
                "kind": kind,
                "recipe": RECIPE,
                "options": settings,
                "store_hash": store_hash,
                "versions": {
                    "morefromless": morefromless.__version__,
                    "torch": torch.__version__,
                    "python": platform.python_version(),
                },
            },
        )
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """A run that is done. Raises `ConfigError` where there is none."""
        run = cls(path)
        if not run.record_path.is_file():
            raise ConfigError(f"{path} holds no run (run.json is missing); check the path.")
        if not run.done:
            raise ConfigError(
                f"The run in {path} is not finished; run its command again and it goes on."
            )
        return run

    @property
    def record_path(self) -> Path:
        return self.path / "run.json"

    @property
    def record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self.record_path.read_text())
        except ValueError as error:
            raise ConfigError(
                f"{self.record_path} is damaged; remove that folder and run again."
            ) from error
        return record

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.record["options"])

    @property
    def checkpoint(self) -> Path:
        return self.path / "resume.ckpt"

    @property
    def weights_path(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def done(self) -> bool:
        return self.weights_path.is_file()

    def finish(self, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Record `facts` (seconds, steps, device ...), then the weights, then tidy up."""
        atomic.write_json(self.record_path, {**self.record, **facts})
        with atomic.replacing(self.weights_path) as temporary:
            save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, temporary)
        self.checkpoint.unlink(missing_ok=True)

    def load_into(self, module: torch.nn.Module) -> None:
        """Load the trained weights. Raises `TrainingError` where they are of another encoder."""
        state = load_file(self.weights_path)
        # An objective that learns (a temperature) is kept with the run but is not an encoder's.
        state = {k: v for k, v in state.items() if not k.startswith("objective.")}
        own = module.state_dict()
        wrong = [k for k in own if k not in state or state[k].shape != own[k].shape]
        if wrong or len(state) != len(own):
            raise TrainingError(
                f"{self.weights_path} does not fit encoder '{self.options['encoder']}' "
                f"({len(wrong)} of {len(own)} tensors missing or of another shape, first: "
                f"{(wrong or ['extra tensors'])[0]}); it is a checkpoint of another encoder."
            )
        module.load_state_dict(state)


def plain(options: Any) -> dict[str, Any]:
    """Options as JSON and YAML hold them."""
    return {key: _plain(value) for key, value in dataclasses.asdict(options).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def key_of(kind: str, options: Any, store_hash: str, incidental: frozenset[str]) -> str:
    """What determines a run, in twelve digits: its kind, options, data, and our recipe.

    An option left at nothing does not count, nor one that says what was so before it came: an
    option which a later version brings does not make another run of one trained without it.
    """
    settings = {
        key: value
        for key, value in plain(options).items()
        if key not in incidental and value not in (None, []) and value != UNCHANGED.get(key)
    }
    text = json.dumps([RECIPE, kind, settings, store_hash], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _difference(record: Mapping[str, Any], settings: Mapping[str, Any], store_hash: str) -> str:
    if record["store_hash"] != store_hash:
        return "made from other data"
    old = record["options"]
    differing = [k for k in settings if old.get(k) != settings[k] and k not in ("out", "store")]
    return ", ".join(f"{k} {old.get(k)}, not {settings[k]}" for k in differing) or "another kind"


def file_name(spec: str) -> str:
    """A specification as a part of a file name: `downsample:7` -> `downsample-7`."""
    return "".join(c if c.isalnum() else "-" for c in spec).strip("-")
