"""Representations of a comparison's arms: CKA over all combinations of their runs, and the rest."""

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from morefromless.analysis.judged import Judged, judged
from morefromless.analysis.sight import Sight, layer_cka
from morefromless.analysis.similarity import LayerCka
from morefromless.branches import build_encoder
from morefromless.comparison.plan import Arm, plan
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.metrics import confusion
from morefromless.labelling import labelled
from morefromless.options import CompareOptions, RepresentOptions
from morefromless.pairs import modality

RANDOM = "random"
"""Name of the arm of untrained encoders."""


@dataclass(frozen=True, eq=False)
class Represented:
    """What the figures and the table of `mfl represent` are made of."""

    options: RepresentOptions
    comparison: CompareOptions
    primary: str
    store: Store
    """Labelled, and without patches that lack the primary view."""
    arms: dict[str, list[Judged]]
    """Runs by arm, in the order of the comparison's table."""
    alike: list[LayerCka]
    """Every two arms, and each with itself; untrained encoders among them."""
    confusion: dict[str, npt.NDArray[np.int64]]
    """By arm, summed over seeds; rows are the true classes."""
    device: str

    @property
    def out(self) -> Path:
        return self.options.out or self.options.comparison / "representations"


def represent(options: RepresentOptions, cka: bool = True) -> Represented:
    """Look into every run of a comparison whose encoder sees `primary`; without CKA if not wanted.

    Raises `ConfigError` or `DataError` where the folder holds no finished comparison.
    """
    compared = comparison_of(options)
    raw = Store.open(compared.store)
    primary = options.primary or compared.primary[0]
    if primary not in compared.primary:
        raise ConfigError(
            f"{options.comparison} has no primary '{primary}', only {', '.join(compared.primary)}."
        )
    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    seen = modality(primary)
    store = labelled(raw, compared.task).having([seen.array])
    planned = [one for one in plan(compared, raw.hash) if one.arm.primary == primary]
    waiting = [one for one in planned if not one.run.done]
    if waiting:
        raise ConfigError(
            f"{len(waiting)} of {len(planned)} runs of {options.comparison} are not finished "
            f"({waiting[0].run.path.name}); run its mfl compare again and it goes on."
        )
    known = [*dict.fromkeys(_typed(one.arm) for one in planned), RANDOM]
    unknown = [arm for arm in options.arms if arm not in known]
    if unknown:
        raise ConfigError(
            f"{options.comparison} has no arm '{unknown[0]}'; it has {', '.join(known)}."
        )
    wanted = options.arms or known
    if set(wanted) == {RANDOM}:
        raise ConfigError(
            f"Untrained encoders alone say nothing; name one of {', '.join(known[:-1])}."
        )
    planned = [one for one in planned if _typed(one.arm) in wanted]
    arms: dict[str, list[Judged]] = {}
    for one in tqdm(planned, desc="evaluate", unit="run", leave=False, dynamic_ncols=True):
        made = judged(one.run, "primary", raw, options, compared.task, device)
        arms.setdefault(one.arm.title, []).append(made)
    rows = store.indices("test")
    sights = {arm: [one.sight for one in runs] for arm, runs in arms.items()}
    if RANDOM in wanted:
        sights[RANDOM] = [
            _untrained(compared.encoder, primary, compared.size, seed, store)
            for seed in range(compared.seeds)
        ]
    truth = store.labels[rows]
    return Represented(
        options=options,
        comparison=compared,
        primary=primary,
        store=store,
        arms=arms,
        alike=layer_cka(sights, rows, options, device) if cka else [],
        confusion={
            arm: np.sum(
                [confusion(one.probabilities.argmax(1), truth, len(store.classes)) for one in runs],
                axis=0,
            )
            for arm, runs in arms.items()
        },
        device=device,
    )


def _typed(arm: Arm) -> str:
    """How a person types an arm: `asymmetric-independent`."""
    return "-".join(word for word in (arm.kind, arm.sharing) if word)


def comparison_of(options: RepresentOptions) -> CompareOptions:
    """The options of the comparison in a folder. Raises `ConfigError` where it holds none."""
    path = options.comparison / "comparison.json"
    try:
        told: dict[str, Any] = json.loads(path.read_text())["options"]
        known = {field.name for field in fields(CompareOptions)}
        held: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in told.items()
            if key in known
        }
        held |= {"store": options.store or Path(told["store"]), "out": options.comparison}
        held["runs"] = _runs(told, options.comparison)
        return CompareOptions(**held)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{options.comparison} holds no finished comparison (comparison.json); give a folder "
            "that mfl compare wrote."
        ) from error


def _runs(told: dict[str, Any], folder: Path) -> Path | None:
    """Where a comparison's runs lie, if not in its own folder: seen from there, as when it was
    made, for both may have moved, or the paths have been told from another directory."""
    if not told.get("runs"):
        return None
    beside = folder / os.path.relpath(told["runs"], told["out"])
    return beside if beside.is_dir() else Path(told["runs"])


def _untrained(encoder: str, primary: str, size: int, seed: int, store: Store) -> Sight:
    torch.manual_seed(seed)
    seen = modality(primary)
    return Sight(build_encoder(encoder, seen.channels).eval(), seen, size, store)
