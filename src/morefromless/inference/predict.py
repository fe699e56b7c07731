"""Classes of any patches: calibrated probabilities, abstention, and what is unlike the training."""

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

ENDINGS = (".csv", ".parquet")


def predict(embedding: Embedding, probe: CalibratedProbe, abstain: float = 0.0) -> pd.DataFrame:
    """A row a patch: id, input, x, y, `class`, `probability`, `outlier_percentile`, and a column of
    probabilities for each class, `p_CLASS`.

    `class` is empty where the highest probability is below `abstain`. Raises `ConfigError` where
    the features are not of the encoder whose features the probe learnt from.
    """
    if embedding.attributes.get("weights") != probe.weights:
        raise ConfigError(
            "The probe learnt from the features of another encoder than those it is given; "
            "calibrate one for this encoder."
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
    """The calibrated probe that lies with an encoder in `folder`; else one that is fitted on
    `store`, or on the store of the run, where it is still there, and kept in the run.

    Raises `ConfigError` where neither is to be had.
    """
    task = task or frozen.task
    probe = None if store else read_calibrated(folder, frozen, task)
    if probe is not None:
        return probe
    data = labelled_store(folder, store)
    if data is None:
        raise ConfigError(
            f"{folder} has no probe for the task {task}, and its store is not there; give --store "
            "FOLDER once, or run mfl probe RUN --store FOLDER before mfl export."
        )
    return calibrate(frozen, data, Probe(), task, seed=frozen.seed, device=device, label="train")


def labelled_store(folder: Path, store: Path | None) -> Store | None:
    """The store that is given, else that of the run in `folder`; None where it is not there."""
    if store is None and (folder / "run.json").is_file():
        recorded = Run(folder).config.store
        store = recorded if recorded.exists() else None
    return Store.open(store) if store else None


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """Write the table as .csv or .parquet."""
    check_ending(path)
    if path.suffix == ".csv":
        files.write_csv(path, table)
        return
    with files.replacing(path) as temporary:
        table.to_parquet(temporary, index=False)


def check_ending(path: Path) -> None:
    """Raise `ConfigError` for an ending that names no format."""
    if path.suffix not in ENDINGS:
        raise ConfigError(f"{path} does not end in {' or '.join(ENDINGS)}.")
