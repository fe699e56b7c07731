"""`mfl views`: a sheet of patches of a store, the input of each branch, and drawn views."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from morefromless.config import ViewsConfig
from morefromless.data.colours import type_colours
from morefromless.data.nuclei import NUCLEI_ARRAY
from morefromless.data.store import Store
from morefromless.modalities.image import Image
from morefromless.modalities.macenko import Macenko
from morefromless.modalities.vector import Vector
from morefromless.pairs import build_modality, build_views
from morefromless.report.bars import distinctive_values
from morefromless.report.contact_sheet import (
    ColourKey,
    draw_sheet,
    stored_title,
    view_columns,
    view_title,
)
from morefromless.report.style import write_figure
from morefromless.tasks import build_task


def write_sheet(config: ViewsConfig) -> Path:
    """Write the contact sheet that `config` describes and return its path.

    Each row is a patch: as stored, as each primary and the privileged branch see it, and `draws`
    times one view of each. Views that are drawn together have a common frame.
    """
    store = Store.open(config.store)
    modalities = {spec: build_modality(spec) for spec in (*config.primary, config.privileged)}
    for modality in modalities.values():
        modality.check(store)
    # The patches may have one tissue class or none, which is not a task but can be shown.
    task, tissue = build_task(config.task), config.task == "tissue"
    labelled = store.select(*modalities.values(), task=task, check=not tissue)
    store = store.select(*modalities.values()) if tissue else labelled
    rows = _spread_over_classes(store, config.patches, config.seed)
    names = dict.fromkeys(modality.array for modality in modalities.values())
    stored = {name: torch.from_numpy(np.asarray(store.array(name)[rows])) for name in names}
    generator = torch.Generator().manual_seed(config.seed)
    bars = {
        spec: distinctive_values(modality, labelled)
        for spec, modality in modalities.items()
        if isinstance(modality, Vector)
    }
    columns, notes = view_columns(
        stored, modalities, build_views(config.views), config.size, config.draws, generator, bars
    )
    caption = (
        f"{store.path.name}: views '{config.views}' at {config.size} px. Each view is drawn anew "
        "for every patch, branch and step; the text below it lists what was drawn. A frame holds a "
        "pair: the primary left, the privileged right."
    )
    for spec, modality in modalities.items():
        if isinstance(modality, (Image, Vector)):
            caption += f" {modality.legend(labelled)}".rstrip()
        if isinstance(modality, Macenko):
            unchanged = int(modality.unchanged(stored[modality.array]).sum())
            caption += (
                f" {unchanged} of {len(rows)} patches do not have two stains: {spec} does not "
                "change them."
            )
    pairs = [[view_title(spec, draw) for spec in modalities] for draw in range(1, config.draws + 1)]
    widths = {
        title: scale * stored[name].shape[1]
        for name in names
        if (title := stored_title(name, names)) in columns and (scale := store.scale(name))
    }
    titles = list(store.table["label"].iloc[rows])
    figure = draw_sheet(columns, titles, caption, pairs, widths, notes, _colour_key(store, stored))
    write_figure(figure, config.out)
    return config.out


def _colour_key(store: Store, stored: Mapping[str, torch.Tensor]) -> ColourKey:
    """The colours of the types of nuclei that are shown."""
    if NUCLEI_ARRAY not in stored:
        return {}
    types = store.scheme.types
    colours = type_colours(len(types))
    shown = torch.unique(stored[NUCLEI_ARRAY][..., 0]).tolist()
    return {types[code]: colours[code] for code in shown if code}


def _spread_over_classes(store: Store, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Row numbers of `count` patches that are in a split, drawn from the classes in turn."""
    rng = np.random.default_rng(seed)
    split_rows = np.sort(np.concatenate([store.indices(s) for s in ("train", "val", "test")]))
    labels = store.labels[split_rows]
    order = rng.permutation(len(labels))
    # Sorted by position within the class, then by class: one of each, then a second of each ...
    position = np.empty(len(labels), np.int64)
    position[order] = pd.Series(order).groupby(labels[order]).cumcount()
    chosen = np.lexsort((labels, position))[:count]
    rows: npt.NDArray[np.int64] = split_rows[chosen[np.argsort(labels[chosen], kind="stable")]]
    return rows
