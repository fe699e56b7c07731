"""Predict classes of patches: calibrated probabilities, abstention and outlier percentiles."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from morefromless import files
from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.errors import ConfigError
from morefromless.evaluation.calibration import CalibratedProbe, calibrate, read_calibrated
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.inference.embed import Embedding
from morefromless.runs import Run

SUFFIXES = (".csv", ".parquet")


def predict(embedding: Embedding, probe: CalibratedProbe, abstain: float = 0.0) -> pd.DataFrame:
    """Return one row per patch: id, input, x, y, `class`, `probability`, `outlier_percentile`, and
    the probability of each class in a column `p_CLASS`.

    `class` is empty if the highest probability is below `abstain`. Raises `ConfigError` if the
    features come from another encoder than the probe was trained on.
    """
    if embedding.attributes.get("weights") != probe.weights:
        raise ConfigError(
            "The probe was trained on features of another encoder; calibrate a probe for this "
            "encoder."
        )
    features = torch.from_numpy(embedding.features)
    probabilities = probe.probabilities(features).numpy()
    highest = probabilities.max(1)
    names = np.array(probe.classes, dtype=object)[probabilities.argmax(1)]
    return pd.DataFrame(
        {
            **{name: embedding.table[name] for name in ("id", "input", "x", "y")},
            "class": np.where(highest >= abstain, names, ""),
            "probability": highest,
            "outlier_percentile": probe.outlier_percentile(features).numpy(),
            **{f"p_{name}": probabilities[:, k] for k, name in enumerate(probe.classes)},
        }
    )


def find_probe(
    frozen: FrozenEncoder, folder: Path, store: Path | None, task: str | None, device: str = "cpu"
) -> CalibratedProbe:
    """The calibrated probe saved with the encoder in `folder`. If there is none, or if `store` is
    given, fit one on `store` or on the run's own store, and save it in the run.

    Raises `ConfigError` if there is neither a probe nor a store.
    """
    task = task or frozen.task
    probe = None if store else read_calibrated(folder, frozen, task)
    if probe is not None:
        return probe
    data = labelled_store(folder, store)
    if data is None:
        raise ConfigError(
            f"{folder} has no probe for the task {task}, and its store is missing; give --store "
            "FOLDER once, or run mfl probe RUN --store FOLDER before mfl export."
        )
    return calibrate(frozen, data, Probe(), task, seed=frozen.seed, device=device, label="train")


def labelled_store(folder: Path, store: Path | None) -> Store | None:
    """The given store, else the store of the run in `folder`; None if it is missing."""
    if store is None and (folder / "run.json").is_file():
        recorded = Run(folder).config.store
        store = recorded if recorded.exists() else None
    return Store.open(store) if store else None


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Write the table as .csv or .parquet."""
    check_suffix(path)
    if path.suffix == ".csv":
        files.write_csv(path, table)
        return
    with files.replacing(path) as temporary:
        table.to_parquet(temporary, index=False)


def check_suffix(path: Path) -> None:
    """Raise `ConfigError` if the file ending is not supported."""
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path} does not end in {' or '.join(SUFFIXES)}.")
