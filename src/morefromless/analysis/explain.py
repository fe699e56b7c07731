"""Two runs held against each other on the same test patches (`mfl explain`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from morefromless.analysis.explanation import Explanation, disagreements
from morefromless.analysis.judged import Judged, judged
from morefromless.analysis.layers import chosen, first_of_stages, observed
from morefromless.analysis.maps import neighbours
from morefromless.analysis.overlay import Pictures, cams, pictures
from morefromless.analysis.sight import Rows, layer_cka
from morefromless.analysis.similarity import LayerCka
from morefromless.data.store import Store
from morefromless.errors import ConfigError, DataError
from morefromless.labelling import labelled
from morefromless.options import ExplainOptions
from morefromless.pairs import modality
from morefromless.runs import Run

NEIGHBOURS = 5
"""Nearest test patches that are named of each."""


@dataclass(frozen=True, eq=False)
class Explained:
    """What the page and its figures are made of."""

    options: ExplainOptions
    store: Store
    sides: tuple[Judged, Judged]
    rows: Rows
    """(N,) test patches that both encoders see, as rows of the store."""
    explanation: Explanation
    features: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    """(N, width) of each."""
    alike: LayerCka
    """CKA of A with B."""
    device: str


def explain(options: ExplainOptions) -> Explained:
    """Evaluate two runs where they are not yet, and look into both.

    Raises `ConfigError` or `DataError` where they have no test patches or no such branch in common.
    """
    runs = (Run.open(options.run_a), Run.open(options.run_b))
    _check_same_patches(*runs)
    raw = Store.open(options.store or Path(runs[0].options["store"]))
    task = options.task or str(runs[0].options.get("task", "tissue"))
    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    with tqdm(total=5, desc="explain", unit="part", leave=False, dynamic_ncols=True) as bar:
        a, b = (judged(run, options.branch, raw, options, task, device) for run in runs)
        sides = (a, b)
        store = labelled(raw, task).having({one.sight.modality.array for one in sides})
        rows = store.indices("test")
        if not len(rows):
            raise DataError(f"No test patch of {store.path} has the views of both runs.")
        bar.update()
        features = (
            _of(rows, a, a.features("test", device)),
            _of(rows, b, b.features("test", device)),
        )
        probabilities = np.stack([_of(rows, one, one.probabilities) for one in sides])
        near = np.stack([neighbours(found, NEIGHBOURS) for found in features])
        bar.update()
        gallery = disagreements(probabilities)
        if options.gallery == "all":
            gallery = np.concatenate([gallery, np.setdiff1d(np.arange(len(rows)), gallery)])
        primary, privileged = _shown(sides, store, rows, options.thumbnail)
        bar.update()
        looks = (_look(a, rows[gallery], options, device), _look(b, rows[gallery], options, device))
        bar.update()
        found = layer_cka({"A": [a.sight], "B": [b.sight]}, rows, options, device)
        between = next(one for one in found if (one.a, one.b) == ("A", "B"))
        bar.update()
    explanation = Explanation(
        titles=_titles(*sides),
        facts=_facts(*sides),
        notes=tuple(_notes(sides, store, between, options)),
        classes=store.classes,
        ids=tuple(store.table["id"].iloc[rows]),
        groups=tuple(map(str, store.table["group"].iloc[rows])) if store.groups_known else None,
        labels=store.labels[rows],
        probabilities=probabilities,
        neighbours=near,
        primary=primary,
        privileged=privileged,
        gallery=gallery,
        cams=looks,
    )
    return Explained(options, store, sides, rows, explanation, features, between, device)


def _check_same_patches(a: Run, b: Run) -> None:
    if a.path.resolve() == b.path.resolve():
        raise ConfigError(f"{a.path} is given twice; give the run that it is held against.")
    if a.record["store_hash"] != b.record["store_hash"]:
        raise DataError(
            f"{a.path} and {b.path} were trained on different stores ({a.options['store']} and "
            f"{b.options['store']}), so they have no test patches in common; give two runs of one."
        )


def _of(rows: Rows, one: Judged, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of what there is for the test patches that one encoder sees, the part that both see."""
    kept: npt.NDArray[Any] = values[np.searchsorted(one.sight.store.indices("test"), rows)]
    return kept


def _shown(
    sides: tuple[Judged, Judged], store: Store, rows: Rows, side: int
) -> tuple[Pictures, Pictures | None]:
    """What A's encoder sees, and what is denser: a privileged image, else the whole patch."""
    seen, size = sides[0].sight.modality, sides[0].sight.size
    primary = pictures(seen, store, rows, size, side)
    denser = dense_spec(sides)
    if denser is None:
        return primary, None
    other = modality(denser)
    return primary, pictures(other, store, rows, max(size, side), side)


def dense_spec(sides: Sequence[Judged]) -> str | None:
    """The modality shown beside the primary: what a run was trained with, else the whole patch."""
    asymmetric = [
        one.run.options for one in sides if one.run.options.get("arm") in ("asymmetric", "trident")
    ]
    told = [str(options["privileged"]) for options in asymmetric]
    whole = f"full:{sides[0].sight.modality.array}"
    own = sides[0].sight.modality
    for spec in (*told, whole):
        seen = modality(spec)
        if not seen.vector and seen != own and seen.array in sides[0].sight.store.arrays:
            return spec
    return None


def _look(one: Judged, rows: Rows, options: ExplainOptions, device: str) -> Pictures | None:
    """GradCAM over the patches; None where the encoder has no feature maps to show."""
    layer = options.cam_layer or cam_layer(one)
    if layer is None:
        return None
    (name,) = chosen(one.sight.encoder, [layer])
    return cams(one, rows, [name], options.thumbnail, device)[name]


def cam_layer(one: Judged) -> str | None:
    """The last stage's first convolution whose maps have 4 x 4 places or more: smaller ones say
    little of where. None where the encoder has no stages."""
    try:
        layers = first_of_stages(one.sight.encoder)
    except ConfigError:
        return None
    sides: dict[str, int] = {}
    with observed(one.sight.encoder, layers, lambda n, out: sides.update({n: out.shape[-1]})):
        one.sight.encoder(one.sight.see(np.array([0])))
    return next((name for name in reversed(layers) if sides[name] >= 4), layers[0])


def _titles(a: Judged, b: Judged) -> tuple[str, str]:
    """As short as tells the two apart."""
    if a.title != b.title:
        return a.title, b.title
    return f"{a.title} ({a.run.path.name})", f"{b.title} ({b.run.path.name})"


def _facts(a: Judged, b: Judged) -> tuple[tuple[str, str, str], ...]:
    names = {
        "arm": "arm",
        "sharing": "weights",
        "objective": "objective",
        "encoder": "encoder",
        "size": "input, px",
        "epochs": "epochs",
        "seed": "seed",
    }
    said = [("run", str(a.run.path), str(b.run.path))]
    for key, title in names.items():
        values = [str(one.run.options.get(key) or "") for one in (a, b)]
        if key == "arm":
            values = [value or "supervised" for value in values]
        if key == "seed":
            values = [str(one.run.options[key]) for one in (a, b)]
        said.append((title, values[0] or "–", values[1] or "–"))
    said.append(("sees", a.spec, b.spec))
    trained_with = [
        str(one.run.options["privileged"])
        if one.run.options.get("arm") in ("asymmetric", "trident")
        else "–"
        for one in (a, b)
    ]
    said.append(("trained with", *trained_with))  # type: ignore[arg-type]
    return tuple(said)


def _notes(
    sides: tuple[Judged, Judged], store: Store, between: LayerCka, options: ExplainOptions
) -> Iterator[str]:
    a, b = sides
    denser = dense_spec(sides)
    yield (
        f"Pictures show what A sees ({a.spec})" + (f" and, beside it, {denser}." if denser else ".")
    )
    if a.spec != b.spec:
        yield f"The two see different modalities: A {a.spec}, B {b.spec}."
    if a.sight.size != b.sight.size:
        yield (
            f"Each sees patches at its own size: A at {a.sight.size} px, B at {b.sight.size} px."
        )
    for name, one in zip("AB", sides, strict=True):
        if cam_layer(one) is None and options.cam_layer is None:
            yield f"{name}'s encoder has no feature maps, so GradCAM has nothing to show of it."
    for name, left in zip("AB", between.left_out, strict=True):
        if left:
            yield (
                f"{len(left)} layers of {name} say the same of every patch ({left[0]}), so their "
                "CKA is undefined; they are left out."
            )
    yield from store.caveats
