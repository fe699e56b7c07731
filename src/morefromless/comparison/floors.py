"""The floors under a comparison: what each modality yields without learning a representation."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from morefromless.data import atomic
from morefromless.data.store import Store
from morefromless.evaluation.evaluate import evaluate_random
from morefromless.evaluation.floors import Floor, floor
from morefromless.evaluation.intervals import Interval, bootstrap
from morefromless.evaluation.metrics import accuracy
from morefromless.options import CompareOptions, TransferOptions
from morefromless.pairs import modality
from morefromless.runs import file_name

FLOORS: tuple[Floor, ...] = ("majority", "mean-rgb", "colour-histogram")


@dataclass(frozen=True)
class FloorRow:
    """One floor on one modality."""

    name: str
    modality: str
    accuracy: Interval
    accuracies: tuple[float, ...]
    """One a seed for the random encoder, else one."""


def floors(
    store: Store,
    modalities: Sequence[str],
    task: str,
    options: CompareOptions | TransferOptions,
    device: str,
) -> list[FloorRow]:
    """Every floor on every modality for a store labelled with `task`.

    They are kept in `floors` in the options' folder, or beside the runs that studies share. Colours
    are those of the modality at its own resolution, so that `downsample:7` has the 49 colours that
    it has.
    """
    folder = (options.runs.parent if options.runs else options.out) / "floors"
    made = []
    also = "" if task == "tissue" else f"-{file_name(task)}"
    asked = [
        (seen, name)
        for seen in modalities
        for name in (*FLOORS, "random encoder")
        if name in ("majority", "random encoder") or not modality(seen).vector  # has no colours
    ]
    for seen, name in tqdm(asked, desc="floors", unit="floor", leave=False, dynamic_ncols=True):
        own = store.having([modality(seen).array])
        if name == "random encoder":
            encoder = _encoder(options, seen)
            what = f"{file_name(seen)}-{file_name(encoder)}-{options.size}-{store.hash[:6]}"
            predictions = np.stack([
                evaluate_random(folder / f"{what}-s{seed}", encoder, seen, options.size, seed, own,
                                options.probe, device, task).probabilities.argmax(1)
                for seed in range(options.seeds)
            ])  # fmt: skip
        else:
            path = folder / f"{file_name(seen)}-{name}{also}.json"
            predictions = _kept(path, own, lambda seen=seen, name=name, own=own: floor(  # type: ignore[misc]
                name, _colours(own, seen), own.labels, train=own.indices("train"),
                test=own.indices("test"), classes=len(own.classes),
            ).argmax(1))[None]  # fmt: skip
        made.append(_row(name, seen, predictions, own))
    return made


def _encoder(options: CompareOptions | TransferOptions, seen: str) -> str:
    """The encoder of a modality: a comparison's privileged one may have its own."""
    if isinstance(options, CompareOptions) and seen == options.privileged:
        return options.privileged_encoder or options.encoder
    return options.encoder


def _row(name: str, seen: str, predictions: npt.NDArray[np.int64], store: Store) -> FloorRow:
    truth = store.labels[store.indices("test")]
    interval = bootstrap(
        accuracy, predictions, truth, classes=len(store.classes), groups=store.groups("test")
    )
    return FloorRow(name, seen, interval, tuple(float(a) for a in (predictions == truth).mean(1)))


def _kept(
    path: Path, store: Store, make: Callable[[], npt.NDArray[np.int64]]
) -> npt.NDArray[np.int64]:
    if path.is_file():
        found = json.loads(path.read_text())
        if found["store_hash"] == store.hash:
            return np.asarray(found["predictions"])
    predictions = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_json(path, {"store_hash": store.hash, "predictions": predictions.tolist()})
    return predictions


def _colours(store: Store, seen: str) -> npt.NDArray[np.uint8]:
    """The stored array as the modality leaves it, (N, r, r, 3) uint8 at its own resolution r."""
    how = modality(seen)
    stored = store.array(how.array)
    if how.vector:
        return np.zeros((len(stored), 1, 1, 3), np.uint8)  # the majority class looks at nothing
    side = stored.shape[1]
    resolution = how.resolution(side)
    if resolution == side and not how.labels:
        return stored
    made = np.empty((len(stored), resolution, resolution, 3), np.uint8)
    rows: Sequence[npt.NDArray[np.int64]] = np.array_split(
        np.arange(len(stored)), max(1, len(stored) // 256)
    )
    for part in rows:
        images = how.see(torch.from_numpy(np.asarray(stored[part])), resolution)
        made[part] = (how.picture(images) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return made
