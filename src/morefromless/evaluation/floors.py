"""Floors: baselines without representation learning, needed to interpret a score.

`majority` uses only the class frequencies, `mean-rgb` only a patch's mean colour, and
`colour-histogram` only the frequency of each colour in the patch, without its position. On
NCT-CRC-HE, the published accuracies of the last two are more than 50 % and more than 82 % (arXiv
2409.11546), because stain and scanner differ between its classes. The fourth floor, a random
encoder, is an untrained encoder with the same probe as any other arm.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from morefromless.data.sharded import reading_order
from morefromless.data.store import Store
from morefromless.evaluation.cache import cached, digest_text
from morefromless.modalities import Modality
from morefromless.pairs import build_modality
from morefromless.probes import label_subset
from morefromless.progress import Bar

Floor = Literal["majority", "mean-rgb", "colour-histogram"]
COLOUR_FLOORS: tuple[Floor, ...] = ("mean-rgb", "colour-histogram")
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Images = npt.NDArray[np.uint8]


def majority(labels: npt.ArrayLike, *, test_patches: int, classes: int) -> npt.NDArray[np.float64]:
    """Probabilities (test_patches, classes): the class frequencies of the labels (N,).

    >>> majority([0, 2, 2, 2], test_patches=1, classes=3)
    array([[0.25, 0.  , 0.75]])
    """
    frequencies = np.bincount(np.asarray(labels, np.int64), minlength=classes) / np.size(labels)
    return np.tile(frequencies, (test_patches, 1))


BINS = 8
"""Bins per colour channel of a histogram."""


def mean_rgb(images: Images) -> Floats:
    """Mean colour of each image: (N, H, W, 3) uint8 -> (N, 3) in [0, 1]."""
    pixels = images.shape[1] * images.shape[2]
    means = np.empty((len(images), 3), np.float32)
    for part in _chunks(images, np.arange(len(images))):
        # Sum over columns first: numpy is about 15 times slower on long rows of 3 values.
        columns = images[part].sum(1, dtype=np.uint32)
        means[part] = columns.sum(1, dtype=np.uint64) / (255 * pixels)
    return means


def colour_histogram(images: Images, rows: Ints | None = None) -> Floats:
    """Joint RGB histogram of each image, or of the images at `rows`.

    (N, H, W, 3) uint8 -> (n, 512), the fraction of pixels in each of 8 x 8 x 8 equal colour cubes;
    red is the slowest index. The histogram is joint, not one per channel, because stains differ in
    the *ratio* of the channels.
    """
    indices = np.arange(len(images)) if rows is None else rows
    pixels, cells = images.shape[1] * images.shape[2], BINS**3
    level = (np.arange(256) * BINS // 256).astype(np.uint16)
    red, green, blue = level * BINS * BINS, level * BINS, level
    histograms = np.empty((len(indices), cells), np.float32)
    for part in _chunks(images, indices):
        some = images[indices[part]].reshape(-1, pixels, 3)
        cube = red[some[..., 0]] + green[some[..., 1]] + blue[some[..., 2]]
        for row, image in zip(part, cube, strict=True):
            histograms[row] = np.bincount(image, minlength=cells) / pixels
    return histograms


def random_forest(
    train: Floats, labels: Ints, test: Floats, *, classes: int
) -> npt.NDArray[np.float64]:
    """Probabilities (N_test, classes) of a random forest of 200 trees, fitted to train (N, D).

    A forest needs no scaling or tuning, on which a floor should not depend. A class without
    training patches has probability zero. The forest uses PyTorch's number of threads, which does
    not change the result.
    """
    # Imported here because importing scikit-learn is slow and planning a study does not need it.
    from sklearn.ensemble import RandomForestClassifier

    trees = RandomForestClassifier(200, random_state=0, n_jobs=torch.get_num_threads())
    trees.fit(train, labels)
    probabilities = np.zeros((len(test), classes))
    probabilities[:, trees.classes_] = trees.predict_proba(test)
    return probabilities


def _chunks(images: Images, rows: Ints) -> Iterator[Ints]:
    """Yield the positions in `rows`, each once, in chunks of at most 16 MB of images."""
    step, order = max(1, 2**24 // int(np.prod(images.shape[1:]))), reading_order(images, rows)
    with Bar(desc="colours", total=len(rows), unit=" patches", delay=2) as bar:
        for start in range(0, len(rows), step):
            part = order[start : start + step]
            yield part
            bar.update(len(part))


def floor_probabilities(
    name: Floor,
    store: Store,
    modality_spec: str,
    task: str,
    share: float,
    seed: int,
    folder: Path,
    cohort: Store | None = None,
) -> npt.NDArray[np.float32]:
    """Probabilities (test patches, classes) of a floor for a modality, cached in `folder`.

    `store` is labelled with `task`, and its patches without the modality are in no split. Colours
    are computed from the modality at its own resolution, so `downsample:7` has 49 pixels. The floor
    uses the same share of the labels as the probe with this `seed`. The test patches are those of
    `cohort`, another store, if given.
    """
    train, test = store.indices("train"), (cohort or store).indices("test")
    rows = train if share == 1 else train[label_subset(store.labels[train], share, seed)]
    key = {
        "store": store.hash,
        "modality": modality_spec,
        "floor": name,
        "task": task,
        "labels": f"{share:g}",
        "seed": str(seed),
        **({} if cohort is None else {"cohort": cohort.hash}),
    }

    labels, classes = store.labels[rows], len(store.classes)

    def compute() -> dict[str, Tensor]:
        if name == "majority":
            probabilities = majority(labels, test_patches=len(test), classes=classes)
        else:
            train_features = _colours(name, store, modality_spec, folder)
            test_features = _colours(name, cohort or store, modality_spec, folder)
            probabilities = random_forest(
                train_features[rows], labels, test_features[test], classes=classes
            )
        return {"probabilities": torch.from_numpy(probabilities)}

    stem = digest_text(*key.values())
    tensors = cached(folder / f"{name}-{stem}.safetensors", key, compute)
    return tensors["probabilities"].numpy()


def _colours(name: Floor, store: Store, modality_spec: str, folder: Path) -> Floats:
    """Colour features of all patches of a store, cached in `folder`. Label shares, seeds and tasks
    select different patches from them."""
    key = {"store": store.hash, "modality": modality_spec, "colours": name}
    compute_colours = mean_rgb if name == "mean-rgb" else colour_histogram

    def compute() -> dict[str, Tensor]:
        images = modality_colours(store, build_modality(modality_spec))
        return {"colours": torch.from_numpy(compute_colours(images))}

    stem = digest_text(*key.values())
    return cached(folder / f"colours-{stem}.safetensors", key, compute)["colours"].numpy()


def modality_colours(store: Store, modality: Modality) -> Images:
    """Render the stored array in a modality: (N, r, r, 3) uint8 at the modality's resolution r."""
    stored = store.array(modality.array)
    side = stored.shape[1]
    resolution = modality.resolution(side)
    if resolution == side and modality.colour:
        return stored
    colours = np.empty((len(stored), resolution, resolution, 3), np.uint8)
    for rows in _chunks(stored, np.arange(len(stored))):
        images = modality.render(torch.from_numpy(np.asarray(stored[rows])), resolution)
        rgb = (modality.to_rgb(images) * 255).round().to(torch.uint8)
        colours[rows] = rgb.permute(0, 2, 3, 1).numpy()
    return colours
