"""Suggest the next step after `mfl ingest` and `mfl tile`, with options for the store's arrays."""

import shlex

from morefromless.config import Arm
from morefromless.data.labels import tissue_classes
from morefromless.data.nuclei import NUCLEI_ARRAY
from morefromless.data.store import Store
from morefromless.errors import MoreFromLessError
from morefromless.ingest.tiling import LOW_POWER
from morefromless.modalities.image import image_spec
from morefromless.pairs import build_modality
from morefromless.report.terminal import shell_quote


def next_step(store: Store, cohort: bool) -> str:
    """Return two commands that work on this store. `cohort` is true for external validation.

    The defaults of both commands use H&E in the array `he`. If the store has another view of the
    patches, that view becomes the privileged one, because users add a second view to compare it.
    """
    path, (primary, privileged) = shell_quote(store.path), _pair(store)
    options = []
    if (primary, privileged) != DEFAULT_PAIR:
        options = ["--primary", primary, "--privileged", privileged]
    views = f"mfl views {path} {shlex.join(options)}".rstrip()
    if cohort:
        return f"{views}, then mfl validate STUDY {path}"
    if primary == privileged:  # `mfl compare` needs two modalities
        return f"{views}, then mfl train {path} --out RUN --kind symmetric --primary {primary}"
    encoder, sharing = pair_options(primary, privileged)
    options += encoder
    cells = store.typed_nuclei and len(tissue_classes(store.classes)) == 1
    if store.unlabelled and not cells:
        return f"{views}, then mfl train {path} --out RUN {shlex.join(options)}".rstrip()
    options += sharing
    if cells:
        options += ["--tasks", "cell"]
    return f"{views}, then mfl compare {path} {shlex.join(options)}".rstrip()


def pair_options(primary: str, privileged: str) -> tuple[list[str], list[str]]:
    """Return the encoder and the sharing that a pair of modalities needs, as options; both are
    empty if the defaults work."""
    first, second = build_modality(primary), build_modality(privileged)
    encoder = ["--privileged-encoder", "mlp"] if second.vector else []
    shareable = not second.vector and first.channels == second.channels
    return encoder, [] if shareable else ["--sharing", "independent"]


DEFAULT_PAIR = Arm.primary, Arm.privileged


def _pair(store: Store) -> tuple[str, str]:
    """Return a primary and a privileged modality of the store; both are the same if it has only
    one."""
    try:
        for spec in DEFAULT_PAIR:
            build_modality(spec).check(store)
    except MoreFromLessError:
        names = sorted(store.arrays, key=lambda name: _rank(store, name))
    else:
        names = [name for name in store.arrays if name not in ("he", NUCLEI_ARRAY)]
        if LOW_POWER in names:  # the sparse view of the same field
            return f"full:{LOW_POWER}", "full"
        names.sort(key=lambda name: _rank(store, name))
        return ("full", _modality_spec(store, names[0])) if names else DEFAULT_PAIR
    first, *others = [_modality_spec(store, name) for name in names]
    if others:
        return first, others[0]
    if build_modality(first).colour and store.side >= 7:
        return f"downsample:7,array={names[0]}", first
    return first, first


def _rank(store: Store, name: str) -> tuple[bool, bool, bool]:
    """Sort key of arrays: `primary` (of the controls), RGB, other images, vectors."""
    array = store.array(name)
    return name != "primary", array.ndim != 4, array.shape[-1] != 3 or array.dtype.itemsize > 1


def _modality_spec(store: Store, name: str) -> str:
    """Return the modality that shows a whole array."""
    array = store.array(name)
    if name == NUCLEI_ARRAY:
        return f"nuclei:types={len(store.scheme.types)}"
    if array.ndim != 4:
        return f"vector:{array.shape[1]},array={name}"
    if array.shape[3] != 3 or array.dtype.itemsize > 1:
        return image_spec(store, name)
    return f"full:{name}"
