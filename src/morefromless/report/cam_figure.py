"""Grids of GradCAMs: several encoders on the same patches, at the layers of Fig. 3 and Fig. S5."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from morefromless.analysis.layers import gradcam_layers
from morefromless.analysis.overlay import Pictures, cams, pictures
from morefromless.data.store import Store
from morefromless.evaluation.evaluate import Answer
from morefromless.pairs import build_modality
from morefromless.report.contact_sheet import draw_sheet
from morefromless.report.similarity_figure import short_name
from morefromless.report.style import save

SIDE = 160
"""Side of each picture in px."""


GRIDS = ("gradcam-first", "gradcam-stages")
"""The first convolution of every encoder, one row per patch (Fig. 3); the first one of every stage,
one row per patch and encoder (Fig. S5)."""
MAX_STAGE_PATCHES = 4
"""Maximum number of patches in the second grid, which shows the last ones."""


def write_cams(
    encoders: Mapping[str, Answer],
    patches: Mapping[str, int],
    extra_columns: Mapping[str, str],
    folder: Path,
    store: Store,
    device: str,
    stems: Collection[str] = GRIDS,
) -> list[Path]:
    """Write GradCAMs of each encoder's own prediction, as the grids in `stems`.

    `patches` maps a row's title to a row of the store. `extra_columns` maps the title of an
    additional column of the first grid to its modality. Encoders without feature maps, such as
    transformers, are skipped; nothing is written if none is left.
    """
    first = np.array(list(patches.values())[:1])
    layers = {
        title: gradcam_layers(
            answer.frozen.encoder.to(device), answer.frozen.render(store, first, device)
        )
        for title, answer in encoders.items()
    }
    answers = {title: answer for title, answer in encoders.items() if layers[title]}
    if not answers:
        return []
    rows, titles = np.array(list(patches.values())), list(patches)
    depth = None if "gradcam-stages" in stems else 1
    maps = {
        title: cams(answer, store, rows, layers[title][:depth], SIDE, device)
        for title, answer in answers.items()
    }
    numbers = _predictions(answers, layers, patches, store, device)
    written: list[Path] = []
    if "gradcam-first" in stems:
        size = max(answer.frozen.size for answer in answers.values())
        columns = {title: next(iter(by_layer.values())) for title, by_layer in maps.items()}
        columns |= {
            title: pictures(build_modality(spec), store, rows, size, SIDE)
            for title, spec in extra_columns.items()
        }
        caption = (
            "GradCAM of each encoder's own prediction at its first convolution, over the patch in "
            "grey. The brightest place supports the class most; in a grey picture, no place does."
        )
        written += save(
            draw_sheet(_tensors(columns), titles, caption), folder / "gradcam-first", numbers
        )
    if "gradcam-stages" in stems:
        last_patches = {
            title: {layer: images[-MAX_STAGE_PATCHES:] for layer, images in by_layer.items()}
            for title, by_layer in maps.items()
        }
        written += save(
            _stages(last_patches, titles[-MAX_STAGE_PATCHES:]), folder / "gradcam-stages", numbers
        )
    return written


def _stages(maps: Mapping[str, Mapping[str, Pictures]], titles: list[str]) -> Figure:
    columns: dict[str, Pictures] = {}
    for number, layers in enumerate(zip(*maps.values(), strict=False)):
        title = f"{number + 1}: {' or '.join(dict.fromkeys(map(short_name, layers)))}"
        shown = [by_layer[layer] for by_layer, layer in zip(maps.values(), layers, strict=True)]
        by_patch = np.stack(shown, axis=1)  # the encoders of one patch together
        columns[title] = by_patch.reshape(-1, SIDE, SIDE, 3)
    caption = (
        "GradCAM at the first convolution and the first of every stage with maps of 4 x 4 or more, "
        "from input to output; in a grey picture, no place supports the class."
    )
    return draw_sheet(_tensors(columns), [f"{t}: {name}" for t in titles for name in maps], caption)


def _predictions(
    encoders: Mapping[str, Answer],
    layers: Mapping[str, Sequence[str]],
    patches: Mapping[str, int],
    store: Store,
    device: str,
) -> pd.DataFrame:
    """The prediction of each encoder for each patch that is shown."""
    lines, rows = [], np.array(list(patches.values()))
    for title, answer in encoders.items():
        with torch.no_grad():
            logits = answer.classifier.to(device).eval()(answer.frozen.render(store, rows, device))
        confidence, predicted = logits.softmax(dim=1).cpu().max(dim=1)
        for (name, row), p, k in zip(
            patches.items(), confidence.tolist(), predicted.tolist(), strict=True
        ):
            lines.append(
                {
                    "patch": name,
                    "id": store.table["id"].iloc[row],
                    "encoder": title,
                    "label": store.table["label"].iloc[row],
                    "predicted": store.classes[k],
                    "probability": p,
                    "layers": " ".join(map(short_name, layers[title])),
                }
            )
    return pd.DataFrame(lines)


def _tensors(shown: Mapping[str, Pictures]) -> dict[str, Tensor]:
    return {t: torch.from_numpy(p).permute(0, 3, 1, 2).float() / 255 for t, p in shown.items()}
