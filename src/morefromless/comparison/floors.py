"""The floors under a comparison: what each modality yields without learning a representation."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
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
from morefromless.evaluation.probes import shown
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
    """One a seed where chance has a part: an untrained encoder, a share of the labels; else one."""


@dataclass(frozen=True)
class Unbeaten:
    """A modality on which the highest floor is not below the best arm."""

    modality: str
    floor: str
    floor_accuracy: float
    arm: str
    arm_accuracy: float
    task: str
    """Empty where only one is asked."""

    @property
    def sentence(self) -> str:
        where = f"{self.modality}, task {self.task}" if self.task else self.modality
        return (
            f"No arm on {where} is above the floor {self.floor} ({100 * self.floor_accuracy:.1f} "
            f"%); the best is {self.arm} ({100 * self.arm_accuracy:.1f} %). So the worth of what "
            "was learnt is not shown there."
        )


def floors(
    store: Store,
    modalities: Sequence[str],
    task: str,
    options: CompareOptions | TransferOptions,
    device: str,
) -> list[FloorRow]:
    """Every floor on every modality that test patches have, for a store labelled with `task`.

    They are kept in `floors` in the options' folder, or beside the runs that studies share. Colours
    are those of the modality at its own resolution, so that `downsample:7` has the 49 colours that
    it has. Every floor is told the labels that probes are told.
    """
    folder = (options.runs.parent if options.runs else options.out) / "floors"
    made = []
    stores = {seen: store.having([modality(seen).array]) for seen in modalities}
    asked = [
        (seen, name)
        for seen in modalities
        if len(stores[seen].indices("test"))
        for name in (*FLOORS, None)
        if name in ("majority", None) or not modality(seen).vector  # which has no colours
    ]
    for seen, name in tqdm(asked, desc="floors", unit="floor", leave=False, dynamic_ncols=True):
        own = stores[seen]
        if name:
            predictions = _told(folder, name, seen, task, options, own)
        else:
            encoder = _encoder(options, seen)
            what = f"{file_name(seen)}-{file_name(encoder)}-{options.size}-{store.hash[:6]}"
            predictions = np.stack(
                [
                    evaluate_random(
                        folder / f"{what}-s{seed}",
                        encoder,
                        seen,
                        options.size,
                        seed,
                        own,
                        options.probe,
                        device,
                        task,
                    ).probabilities.argmax(1)
                    for seed in range(options.seeds)
                ]
            )
        made.append(_row(name or "random encoder", seen, predictions, own))
    return made


def unbeaten(
    floors: Sequence[FloorRow], reached: Iterable[tuple[str, str, Interval]], task: str = ""
) -> list[Unbeaten]:
    """The modalities on which no arm is above the highest floor.

    `reached` has the modality, the arm's name and its accuracy.
    """
    best: dict[str, tuple[float, str]] = {}
    for seen, arm, found in reached:
        best[seen] = max(best.get(seen, (0.0, "")), (found.estimate, arm))
    made = []
    for seen, (value, arm) in best.items():
        high = max((f for f in floors if f.modality == seen), key=lambda f: f.accuracy.estimate)
        if value <= high.accuracy.estimate:
            made.append(Unbeaten(seen, high.name, high.accuracy.estimate, arm, value, task))
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


def _told(
    folder: Path,
    name: Floor,
    seen: str,
    task: str,
    options: CompareOptions | TransferOptions,
    store: Store,
) -> npt.NDArray[np.int64]:
    """Classes (1, test patches) of a floor that is told all labels; else a row a seed, which is
    told the share of them that the probes of this seed are told."""
    share, train = options.labels, store.indices("train")
    stem = f"{file_name(seen)}-{name}" + ("" if task == "tissue" else f"-{file_name(task)}")

    def fitted(seed: int) -> npt.NDArray[np.int64]:
        labelled = train[shown(store.labels[train], share, seed)]
        probabilities = floor(
            name,
            _colours(store, seen),
            store.labels,
            train=labelled,
            test=store.indices("test"),
            classes=len(store.classes),
        )
        return np.asarray(probabilities.argmax(1))

    if share == 1:
        return _kept(folder / f"{stem}.json", store, partial(fitted, 0))[None]
    return np.stack(
        [
            _kept(folder / f"{stem}-labels-{share:g}-s{seed}.json", store, partial(fitted, seed))
            for seed in range(options.seeds)
        ]
    )


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
        images = how.render(torch.from_numpy(np.asarray(stored[part])), resolution)
        made[part] = (how.to_rgb(images) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return made
