"""Evaluation of a run: features of each branch on its own modality, the probe, and its scores."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from morefromless.branches import Branches, build_encoder, plans, untrained
from morefromless.data import atomic
from morefromless.data.store import Split, Store
from morefromless.encoders import Encoder
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.features import extract, kept
from morefromless.evaluation.metrics import Scores, score
from morefromless.evaluation.probes import LinearProbe, fit_linear_probe, shown
from morefromless.labelling import labelled
from morefromless.modalities import Modality
from morefromless.options import PretrainOptions, ProbeOptions
from morefromless.pairs import modality
from morefromless.runs import Run, file_name


@dataclass(frozen=True)
class Result:
    """What one trained encoder reached on the test patches."""

    branch: str
    modality: str
    scores: Scores
    probabilities: npt.NDArray[np.float32]
    """(test patches that have the view, classes), in the order of the store's rows."""


def evaluate(
    run: Run,
    store: Store,
    probe: ProbeOptions,
    device: str = "cpu",
    *,
    task: str | None = None,
    progress: bool = False,
) -> list[Result]:
    """Every branch of a finished run on its own modality, where test patches have it; what was done
    before is read back.

    Branches of a self-supervised run get the probe; a supervised run is scored by its own head,
    as in the paper, where the task (by default the run's) is its own, and probed on any other.
    """
    record = run.record
    if record["store_hash"] != store.hash:
        raise DataError(
            f"{run.path} was trained on other data than {store.path}; evaluate it on the store "
            "that it was made from."
        )
    options = run.options
    own = str(options.get("task", "tissue"))
    asked = own if task is None else task
    branches = trained(run, store)
    store = labelled(store, asked)
    results = []
    for branch, (encoder, head, seen) in branches.items():
        folder = run.path / "features"
        how = modality(seen)
        own_store = store.having([how.array])
        if not len(own_store.indices("test")):
            continue
        maker = _Maker(
            encoder,
            own_store,
            how,
            int(options["size"]),
            device,
            f"features of {branch}" if progress else None,
        )
        own_head = head if asked == own else None
        name = _name(branch, own_head, probe, asked)
        fitted = _of_head(own_head) if own_head is not None else None
        results.append(
            scored(
                run.path,
                name,
                branch,
                seen,
                own_store,
                maker,
                folder / branch,
                fitted,
                probe,
                int(options["seed"]),
            )
        )
    return results


def judge(
    run: Run, branch: str, head: nn.Linear | None, probe: ProbeOptions, task: str
) -> LinearProbe:
    """What `evaluate` scored a branch of `trained` with: its own head, or the probe it left.

    Raises `ConfigError` where there is no such probe.
    """
    own_head = head if task == str(run.options.get("task", "tissue")) else None
    if own_head is not None:
        return _of_head(own_head)
    path = run.path / f"probe-{_name(branch, None, probe, task)}.safetensors"
    if not path.is_file():
        raise ConfigError(
            f"{run.path} has no probe of branch '{branch}' ({path.name}); remove its scores and "
            "predictions of the same name, and mfl probe makes all three."
        )
    return LinearProbe.load(path)


def _name(branch: str, own_head: nn.Linear | None, probe: ProbeOptions, task: str) -> str:
    """How the files of a branch's scores, predictions and probe are told apart."""
    also = "" if task == "tissue" else f"-{file_name(task)}"
    return f"{branch}-{'head' if own_head is not None else probe.name}{also}"


def _of_head(head: nn.Linear) -> LinearProbe:
    return LinearProbe(head.weight.detach(), head.bias.detach())


@dataclass(frozen=True)
class _Maker:
    encoder: Encoder
    store: Store
    modality: Modality
    size: int
    device: str
    label: str | None

    def features(self, split: Split, stem: Path) -> Tensor:
        path = stem.with_name(f"{stem.name}-{split}.npy")
        indices = self.store.indices(split)

        def make() -> Tensor:
            return extract(
                self.encoder,
                self.store,
                indices,
                self.modality,
                self.size,
                device=self.device,
                label=self.label,
            )

        return kept(path, make)


def evaluate_random(
    folder: Path,
    encoder: str,
    seen: str,
    size: int,
    seed: int,
    store: Store,
    probe: ProbeOptions,
    device: str = "cpu",
    task: str = "tissue",
) -> Result:
    """The floor of an untrained encoder through the same probe, `store` being labelled so."""
    torch.manual_seed(seed)
    how = modality(seen)
    store = store.having([how.array])
    maker = _Maker(build_encoder(encoder, how.channels), store, how, size, device, None)
    folder.mkdir(parents=True, exist_ok=True)
    also = "" if task == "tissue" else f"-{file_name(task)}"
    return scored(
        folder,
        f"random-{probe.name}{also}",
        "primary",
        seen,
        store,
        maker,
        folder / "features" / "random",
        None,
        probe,
        seed,
    )


def scored(
    folder: Path,
    name: str,
    branch: str,
    seen: str,
    store: Store,
    maker: _Maker,
    stem: Path,
    fitted: LinearProbe | None,
    options: ProbeOptions,
    seed: int,
) -> Result:
    """Scores in `folder/scores-NAME.json`, predictions beside them; read back where they exist."""
    scores_path = folder / f"scores-{name}.json"
    predictions_path = folder / f"predictions-{name}.npz"
    if scores_path.is_file() and predictions_path.is_file():
        try:
            values = json.loads(scores_path.read_text())["scores"]
            with np.load(predictions_path, allow_pickle=False) as file:
                return Result(branch, seen, Scores.from_json(values), file["probabilities"])
        except (ValueError, KeyError, TypeError, EOFError, BadZipFile):
            pass  # damaged: made again from the weights
    train, test = store.indices("train"), store.indices("test")
    labels = torch.from_numpy(store.labels)
    if fitted is None:
        told = shown(store.labels[train], options.labels, seed)
        fitted = fit_linear_probe(
            maker.features("train", stem)[told],
            labels[train][told],
            len(store.classes),
            epochs=options.probe_epochs,
            lr=options.probe_lr,
            standardise=options.standardise,
            seed=seed,
            device=maker.device,
        )
        fitted.save(folder / f"probe-{name}.safetensors")
    probabilities = fitted.probabilities(maker.features("test", stem)).cpu().numpy()
    scores = score(probabilities, store.labels[test])
    with atomic.replacing(predictions_path) as temporary, temporary.open("wb") as file:
        np.savez(file, probabilities=probabilities, rows=test)
    atomic.write_json(
        scores_path,
        {
            "branch": branch,
            "modality": seen,
            "classes": list(store.classes),
            "probe": {f.name: getattr(options, f.name) for f in fields(ProbeOptions)},
            "store_hash": store.hash,
            "scores": scores.to_json(),
        },
    )
    return Result(branch, seen, scores, probabilities)


def trained(run: Run, store: Store) -> dict[str, tuple[Encoder, nn.Linear | None, str]]:
    """Branch name to (encoder with its trained weights, its own head if any, what it sees)."""
    options = run.options
    if run.record["kind"] == "supervise":
        classes = len(labelled(store, str(options.get("task", "tissue"))).classes)
        channels = modality(options["primary"]).channels
        encoder = build_encoder(untrained(options["encoder"]), channels)
        network = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(encoder.width, classes)})
        run.load_into(network)
        head = network["head"]
        assert isinstance(head, nn.Linear)
        return {"primary": (encoder, head, options["primary"])}
    if run.record["kind"] != "pretrain":
        raise ConfigError(f"{run.path} is a run of kind '{run.record['kind']}', not to be probed.")
    planned = plans(PretrainOptions(**{**options, "out": run.path}))
    branches = Branches(
        [replace(one, encoder=untrained(one.encoder)) for one in planned], int(options["width"])
    )
    run.load_into(nn.ModuleDict({"branches": branches}))
    return {
        one.name: (branches[one.name].encoder, None, one.modality)
        for one in planned
        if one.name != "twin"  # a second view of the primary, not another encoder
    }
