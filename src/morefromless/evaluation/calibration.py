"""Calibrated probes: temperature scaling, selective prediction and outlier detection.

A share of the training patches, whole groups if groups are known, is held out from the probe. It is
used for temperature scaling (Guo et al. 2017), for the coverage and accuracy of selective
prediction, and for the typical distance to the training patches. Test patches are not used.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize_scalar
from sklearn.model_selection import GroupShuffleSplit
from torch import Tensor
from torch.nn.functional import cross_entropy

from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.documents import parse_json
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.cache import read_cached
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.identity import file_name
from morefromless.probes import LinearProbe, label_subset
from morefromless.probes.softmax import fit_linear_probe
from morefromless.tasks import build_task
from morefromless.torch_state import preserved_torch_state

HELD_OUT_SHARE = 0.2
"""Share of the training patches, or of their groups, that is held out for calibration."""
NEIGHBOURS = 10
"""Number k of the outlier score: the distance to the k-th nearest training patch."""
MIN_TEMPERATURE = 0.01
"""Lower limit of the temperature. For a supervised arm's own head the limit is 1: it was trained on
the calibration patches, so they cannot justify a higher confidence."""
MAX_REFERENCE_PATCHES = 5000
"""Maximum number of training patches that are stored for distances."""
TENSORS = frozenset(
    {"weight", "bias", "temperature", "reference", "distances", "confidence", "correct"}
)
KEYS = frozenset({"weights", "store", "classes", "probe"})
"""Tensors and metadata without which a stored probe cannot be used, such as another version's."""


class NoHeldOutPatches(DataError):
    """No training patch can be held out for calibration."""


@dataclass(frozen=True, eq=False)
class CalibratedProbe:
    """A linear probe with its temperature, and statistics of held-out training patches."""

    classes: tuple[str, ...]
    probe: LinearProbe
    temperature: float
    reference: Tensor
    """(n, D) features of training patches, of unit length."""
    distances: Tensor
    """(m,) distances of the held-out patches to their `NEIGHBOURS`-th neighbour, ascending."""
    confidence: Tensor
    """(m,) highest probability of each held-out patch."""
    correct: Tensor
    """(m,) bool: whether the class with this probability is correct."""
    store: str
    """Hash of the store that it was fitted to."""
    weights: str
    """Hash of the encoder (`FrozenEncoder.fingerprint`)."""
    head: bool
    """Whether it is a supervised arm's own head, whose training held out no patches."""

    def __repr__(self) -> str:
        return f"CalibratedProbe({len(self.classes)} classes, temperature {self.temperature:.3g})"

    def probabilities(self, features: Tensor) -> Tensor:
        """(N, D) -> (N, classes): the softmax of the logits divided by the temperature."""
        return (self.probe.logits(features) / self.temperature).softmax(1)

    def outlier_percentile(self, features: Tensor) -> Tensor:
        """(N, D) -> (N,): percentage of held-out patches that are closer to the training patches
        (Sun et al. 2022); 100 means farther than all."""
        rank = torch.searchsorted(self.distances, neighbour_distance(features, self.reference))
        return 100 * rank.float() / len(self.distances)

    def coverage_and_accuracy(self, threshold: float) -> tuple[float, float]:
        """Coverage and accuracy of selective prediction on the held-out patches: only probabilities
        of at least `threshold` count as a prediction. The accuracy is nan without predictions."""
        accepted = self.confidence >= threshold
        return float(accepted.float().mean()), float(self.correct[accepted].float().mean())


def neighbour_distance(features: Tensor, reference: Tensor) -> Tensor:
    """Distance of features to their `NEIGHBOURS`-th nearest reference, or to the farthest if there
    are fewer: (N, D) and (n, D) of unit length -> (N,). Features are scaled to unit length."""
    k = min(NEIGHBOURS, len(reference))
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    parts = (unit[start : start + 1024] for start in range(0, len(unit), 1024))
    return torch.cat([torch.cdist(part, reference).kthvalue(k, dim=1).values for part in parts])


@preserved_torch_state()
def calibrate(
    frozen: FrozenEncoder,
    store: Store,
    probe: Probe,
    task: str,
    *,
    seed: int = 0,
    device: str = "cpu",
    label: str | None = None,
) -> CalibratedProbe:
    """Fit and calibrate a probe on a store's training patches.

    For the task that a supervised arm was trained on, its own head is calibrated, without fitting.
    The result is cached in the run's folder. `device` is a PyTorch device, such as `cuda`; `label`
    is the title of a progress bar. Raises `ConfigError` for a probe other than softmax, `DataError`
    if too few patches have a label, and `NoHeldOutPatches` if none can be held out.
    """
    if probe.probe != "softmax":
        raise ConfigError(
            f"--probe {probe.probe} has no logits to calibrate; give --probe softmax."
        )
    store = store.select(frozen.modality, task=build_task(task))
    if not store.can_train_probe:
        raise DataError(
            f"The labelled training patches of {store.path} that have {frozen.modality_spec} are "
            f"of one class or none, so no probe can be fitted for the task {task}."
        )
    head = frozen.head_for(task, store)
    key = {
        "weights": frozen.fingerprint,
        "store": store.hash,
        "task": task,
        "classes": json.dumps(store.classes),
        "probe": "head" if head else repr(probe),
        "seed": str(seed),
    }

    def compute() -> dict[str, Tensor]:
        features = frozen.features(store, "train", device, label)
        labels = store.labels[store.indices("train")]
        held_out = _held_out_mask(labels, store.groups("train"), seed)
        fitted = head
        if fitted is None:
            rows = np.flatnonzero(~held_out)[label_subset(labels[~held_out], probe.labels, seed)]
            fitted = fit_linear_probe(
                features[rows],
                torch.from_numpy(labels[rows]),
                len(store.classes),
                epochs=probe.probe_epochs,
                lr=probe.probe_lr,
                standardise=probe.standardise,
                seed=seed,
                device=device,
            ).to("cpu")
        logits, truth = fitted.logits(features[held_out]), torch.from_numpy(labels[held_out])
        temperature = best_temperature(
            logits, truth, min_temperature=1.0 if head else MIN_TEMPERATURE
        )
        confidence, predicted = (logits / temperature).softmax(1).max(1)
        reference_rows = np.random.default_rng(seed).permutation(np.flatnonzero(~held_out))[
            :MAX_REFERENCE_PATCHES
        ]
        reference = torch.nn.functional.normalize(features[reference_rows], dim=1)
        return {
            "weight": fitted.weight,
            "bias": fitted.bias,
            "temperature": torch.tensor(temperature),
            "reference": reference,
            "distances": neighbour_distance(features[held_out], reference).sort().values,
            "confidence": confidence,
            "correct": predicted == truth,
        }

    tensors = frozen.cached(calibrated_name(frozen, task), key, compute)
    return _from_tensors(tensors, store.classes, key)


def calibrated_on_training_data(frozen: FrozenEncoder, probe: CalibratedProbe) -> bool:
    """Whether the probe is the encoder's own head, trained on the patches that calibrate it."""
    return probe.head and frozen.data is not None and probe.store == frozen.data.hash


def read_calibrated(folder: Path, frozen: FrozenEncoder, task: str) -> CalibratedProbe | None:
    """Load the cached result of `calibrate`, without the store; None if there is none.

    Raises `ConfigError` if it is damaged or of another encoder.
    """
    path = folder / f"{calibrated_name(frozen, task)}.safetensors"
    if not path.is_file():
        return None
    stored = read_cached(path)
    if stored is None or not (stored[0].keys() >= TENSORS and stored[1].keys() >= KEYS):
        raise ConfigError(f"{path} is damaged; remove it, and give --store FOLDER to fit it again.")
    tensors, key = stored
    if key.get("weights") != frozen.fingerprint:
        raise ConfigError(
            f"{path} is the probe of another encoder; remove it, and give --store FOLDER to fit it "
            "again."
        )
    return _from_tensors(tensors, parse_json(key["classes"], tuple[str, ...]), key)


def calibrated_files(folder: Path, frozen: FrozenEncoder) -> list[Path]:
    """List the files of an encoder's calibrated probes, for all tasks."""
    return sorted(folder.glob(calibrated_name(frozen, "*") + ".safetensors"))


def calibrated_name(frozen: FrozenEncoder, task: str) -> str:
    """File name, without suffix, in the folder of a run or an exported encoder."""
    task = task if task == "*" else file_name(task)
    return f"probe-{frozen.name}-{task}-calibrated"


def best_temperature(
    logits: Tensor, labels: Tensor, min_temperature: float = MIN_TEMPERATURE
) -> float:
    """Find the temperature that minimises the cross-entropy of logits (N, classes), labels (N,).

    Targets are smoothed like Platt's (1999): (N + 1) / (N + classes) for a patch's own class.
    Without smoothing, a few patches that are all correct would give full confidence everywhere.

    >>> logits = torch.tensor([[2.0, 0.0]] * 400)  # confidence 88 %, accuracy 3/4
    >>> round(best_temperature(logits, torch.tensor([0, 0, 0, 1] * 100)), 2)  # 2 / log 3 = 1.82
    1.83
    >>> sure = best_temperature(logits[:8], torch.tensor([0] * 8))
    >>> round((logits[0] / sure).softmax(0)[0].item(), 3)  # (8 + 1) / (8 + 2)
    0.9
    """
    smoothing = logits.shape[1] / (len(logits) + logits.shape[1])

    def loss(log_temperature: float) -> float:
        scaled = logits.double() / float(np.exp(log_temperature))
        return float(cross_entropy(scaled, labels, label_smoothing=smoothing))

    bounds = float(np.log(min_temperature)), 5.0
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _held_out_mask(
    labels: npt.NDArray[np.int64], groups: npt.NDArray[np.object_] | None, seed: int
) -> npt.NDArray[np.bool_]:
    """Select the held-out patches: (N,) bool. Whole groups are held out if there are several. The
    patches of a class are not held out if none would remain for fitting."""
    held_out = np.zeros(len(labels), dtype=bool)
    if groups is not None and len(set(groups)) > 1:
        split = GroupShuffleSplit(1, test_size=HELD_OUT_SHARE, random_state=seed)
        _, held_rows = next(iter(split.split(labels, groups=groups)))
        held_out[held_rows] = True
    else:
        held_out[label_subset(labels, HELD_OUT_SHARE, seed)] = True
    held_out[~np.isin(labels, labels[~held_out])] = False
    if not held_out.any():
        raise NoHeldOutPatches(
            "No training patch can be held out for calibration, because its class would have none "
            "left for fitting. Label more patches of each class, from more patients."
        )
    return held_out


def _from_tensors(
    tensors: dict[str, Tensor], classes: tuple[str, ...], key: Mapping[str, str]
) -> CalibratedProbe:
    return CalibratedProbe(
        classes=classes,
        probe=LinearProbe(tensors["weight"], tensors["bias"]),
        temperature=float(tensors["temperature"]),
        reference=tensors["reference"],
        distances=tensors["distances"],
        confidence=tensors["confidence"],
        correct=tensors["correct"],
        store=key["store"],
        weights=key["weights"],
        head=key["probe"] == "head",
    )
