"""Two runs compared on the same test patches (`mfl explain`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from morefromless.analysis.layer_cka import layer_cka
from morefromless.analysis.layers import last_gradcam_layer, select_layers
from morefromless.analysis.maps import neighbours
from morefromless.analysis.overlay import Pictures, cams, pictures
from morefromless.analysis.similarity import LayerCka
from morefromless.arms import condition_of
from morefromless.config import ExplainConfig
from morefromless.data.store import Store
from morefromless.devices import resolve_device
from morefromless.errors import ConfigError, DataError
from morefromless.evaluation.evaluate import Answer, answer_of, open_store
from morefromless.evaluation.metrics import confusion
from morefromless.pairs import build_modality
from morefromless.progress import Bar
from morefromless.runs import Run
from morefromless.tasks import build_task

Rows = npt.NDArray[np.int64]
NEIGHBOURS = 5
"""Nearest test patches that are named of each."""


@dataclass(frozen=True, eq=False)
class Disagreements:
    """Two encoders, A and B, each with its probe, on the same N test patches of C classes.

    All that the page and its figures need. Thumbnails are uint8 RGB squares of one side T.
    """

    config: ExplainConfig
    store: Store
    answers: tuple[Answer, Answer]
    cka: LayerCka
    """Of A with B."""
    titles: tuple[str, str]
    """How A and B are called, such as `asymmetric, independent, seed 0`."""
    facts: tuple[tuple[str, str, str], ...]
    """Name of a fact, what it is for A, and for B: arm, objective, encoder, accuracy ..."""
    notes: tuple[str, ...]
    """Sentences that must stand beside the results: the store's caveats, what is not shown."""
    rows: Rows
    """(N,) test patches that both encoders are given, as rows of the store."""
    probabilities: npt.NDArray[np.float32]
    """(2, N, C), A first."""
    features: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    """(N, width) of each."""
    neighbours: npt.NDArray[np.int64]
    """(2, N, K): the K test patches whose features are nearest (cosine), nearest first."""
    primary: Pictures
    """(N, T, T, 3): the encoders' input."""
    privileged: Pictures | None
    """(N, T, T, 3): what was present in training only; None where neither run had any."""
    gallery: Rows
    """(M,) the patches that are shown one by one, the most confident disagreement first."""
    cams: tuple[Pictures | None, Pictures | None]
    """For A and B: (M, T, T, 3), GradCAM of the encoder's prediction over the primary view, in the
    order of `gallery`; None for an encoder that has no feature maps."""

    @property
    def classes(self) -> tuple[str, ...]:
        """C names; a class may be absent from the test patches."""
        return self.store.classes

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.store.table["id"].iloc[self.rows])

    @property
    def groups(self) -> tuple[str, ...] | None:
        """Patient or slide of each patch; None where not known."""
        if not self.store.groups_known:
            return None
        return tuple(map(str, self.store.table["group"].iloc[self.rows]))

    @property
    def labels(self) -> Rows:
        """(N,) indices into `classes`."""
        return self.store.labels[self.rows]

    @property
    def predictions(self) -> Rows:
        """(2, N) the likeliest class."""
        return np.asarray(self.probabilities.argmax(axis=2))

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(2, N) the probability of that class."""
        return np.asarray(self.probabilities.max(axis=2))

    def confusion(self, side: int) -> Rows:
        """(C, C) counts of one encoder: rows are the true classes, columns the predicted ones."""
        return confusion(self.predictions[side], self.labels, len(self.classes))

    def summary_lines(self) -> Iterator[str]:
        """How many each gets right, and on how many they disagree."""
        predictions = self.predictions
        for side, title in enumerate(self.titles):
            right = int((predictions[side] == self.labels).sum())
            yield f"{title}: {right:,} of {len(self.ids):,} test patches right"
        yield f"They disagree on {int((predictions[0] != predictions[1]).sum()):,}."


def explain(config: ExplainConfig) -> Disagreements:
    """Evaluate two runs, unless that is done, and compare them on their common test patches.

    Raises `ConfigError` or `DataError` where they have no common test patches, or one of them has
    no such branch.
    """
    runs = (Run.open(config.run_a, config.trust), Run.open(config.run_b, config.trust))
    _check_same_patches(*runs)
    raw = open_store(runs[0], config.store)
    task = config.task or runs[0].config.arm.task
    device = resolve_device(config.analysis.device)
    with Bar(total=5, desc="explain", unit="part") as bar:
        a, b = (answer_of(run, config.branch, raw, config.probe, task, device) for run in runs)
        store = raw.select(a.frozen.modality, b.frozen.modality, task=build_task(task))
        rows = store.indices("test")
        if not len(rows):
            raise DataError(f"No test patch of {store.path} has the views of both runs.")
        bar.update()
        features = (_features(a, raw, rows, device), _features(b, raw, rows, device))
        probabilities = np.stack([_select(answer, rows, answer.probabilities) for answer in (a, b)])
        bar.update()
        gallery = disagreements(probabilities)
        if config.gallery == "all":
            gallery = np.concatenate([gallery, np.setdiff1d(np.arange(len(rows)), gallery)])
        primary, privileged = _pictures(a, b, store, rows, config.thumbnail)
        bar.update()
        overlays = (
            _cams(a, store, rows[gallery], config, device),
            _cams(b, store, rows[gallery], config, device),
        )
        bar.update()
        arms = {"A": [a.frozen], "B": [b.frozen]}
        pairs = layer_cka(arms, store, rows, config.analysis, device)
        cka = next(pair for pair in pairs if (pair.a, pair.b) == ("A", "B"))
        bar.update()
    return Disagreements(
        config=config,
        store=store,
        answers=(a, b),
        cka=cka,
        titles=_titles(a, b),
        facts=_facts(a, b),
        notes=tuple(_notes(a, b, store, cka, config)),
        rows=rows,
        probabilities=probabilities,
        features=features,
        neighbours=np.stack([neighbours(values, NEIGHBOURS) for values in features]),
        primary=primary,
        privileged=privileged,
        gallery=gallery,
        cams=overlays,
    )


def disagreements(probabilities: npt.NDArray[Any]) -> Rows:
    """Patches that two encoders classify differently, the most confident first: (2, N, C) -> (M,).

    The confidence of a disagreement is the lower of the two encoders' confidences.

    >>> disagreements(np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.2, 0.8], [0.7, 0.3]]]))
    array([0])
    """
    different = np.flatnonzero(probabilities[0].argmax(axis=1) != probabilities[1].argmax(axis=1))
    confidence = probabilities[:, different].max(axis=2).min(axis=0)
    return np.asarray(different[np.argsort(-confidence, kind="stable")])


def dense_modality(answers: Sequence[Answer]) -> str | None:
    """The modality shown beside the input: a run's privileged image, else the whole patch.

    None where neither differs from the input.
    """
    frozen, store = answers[0].frozen, answers[0].store
    configs = [answer.frozen.config for answer in answers]
    partners = [c.arm.privileged for c in configs if c and c.arm.kind in ("asymmetric", "trident")]
    for spec in (*partners, f"full:{frozen.modality.array}"):
        modality = build_modality(spec)
        shown = not modality.vector and modality.array in store.arrays
        if shown and modality != frozen.modality:
            return spec
    return None


def cam_layer(answer: Answer) -> str | None:
    """The layer of the GradCAMs beside each patch; None where the encoder has no feature maps."""
    encoder = answer.frozen.encoder
    device = next(encoder.parameters()).device  # where features were computed
    return last_gradcam_layer(encoder, answer.frozen.render(answer.store, np.array([0]), device))


def _check_same_patches(a: Run, b: Run) -> None:
    if a.path.resolve() == b.path.resolve():
        raise ConfigError(f"{a.path} is given twice; give the run that it is compared with.")
    if a.record.store_hash != b.record.store_hash:
        raise DataError(
            f"{a.path} and {b.path} were trained on different stores ({a.config.store} and "
            f"{b.config.store}), so they have no test patches in common; give two runs of one."
        )


def _select(answer: Answer, rows: Rows, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values of the patches `rows`, of values for all test patches that an encoder has."""
    return np.asarray(values[np.searchsorted(answer.store.indices("test"), rows)])


def _features(answer: Answer, store: Store, rows: Rows, device: str) -> npt.NDArray[np.float32]:
    return _select(answer, rows, answer.frozen.features(store, "test", device).numpy())


def _pictures(
    a: Answer, b: Answer, store: Store, rows: Rows, side: int
) -> tuple[Pictures, Pictures | None]:
    """A's input, and what is denser: a privileged image, else the whole patch."""
    frozen = a.frozen
    primary = pictures(frozen.modality, store, rows, frozen.size, side)
    denser = dense_modality((a, b))
    if denser is None:
        return primary, None
    return primary, pictures(build_modality(denser), store, rows, max(frozen.size, side), side)


def _cams(
    answer: Answer, store: Store, rows: Rows, config: ExplainConfig, device: str
) -> Pictures | None:
    """GradCAM over the patches; None where the encoder has no feature maps to show."""
    layer = config.cam_layer or cam_layer(answer)
    if layer is None:
        return None
    (name,) = select_layers(answer.frozen.encoder, [layer])
    return cams(answer, store, rows, [name], config.thumbnail, device)[name]


def _titles(a: Answer, b: Answer) -> tuple[str, str]:
    """The shortest titles that differ: of the arm, with the folder's name, with its path."""
    title = a.frozen.title
    if title != b.frozen.title:
        return title, b.frozen.title
    if a.frozen.folder_name != b.frozen.folder_name:
        return f"{title} ({a.frozen.folder_name})", f"{title} ({b.frozen.folder_name})"
    return f"{title} ({a.frozen.folder})", f"{title} ({b.frozen.folder})"


def _facts(a: Answer, b: Answer) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (name, of_a, of_b)
        for (name, of_a), (_, of_b) in zip(_facts_of(a), _facts_of(b), strict=True)
    )


def _facts_of(answer: Answer) -> Iterator[tuple[str, str]]:
    config = answer.frozen.config
    assert config is not None
    condition = condition_of(config.arm, answer.frozen.name, answer.task)
    privileged = answer.frozen.name == "privileged"
    encoder = config.pairing.privileged_encoder if privileged else None
    yield "run", str(answer.frozen.folder)
    yield "arm", condition.arm
    yield "weights", condition.sharing or "–"
    yield "objective", "–" if condition.arm == "supervised" else condition.objective
    yield "encoder", encoder or config.train.encoder
    yield "input, px", str(answer.frozen.size)
    yield "epochs", str(config.epochs)
    yield "seed", str(config.seed)
    yield "modality", answer.frozen.modality_spec
    yield "trained with", condition.partner or "–"


def _notes(
    a: Answer, b: Answer, store: Store, cka: LayerCka, config: ExplainConfig
) -> Iterator[str]:
    denser = dense_modality((a, b))
    specs = (a.frozen.modality_spec, b.frozen.modality_spec)
    yield (
        f"Pictures show the input of A ({specs[0]})"
        + (f" and, beside it, {denser}." if denser else ".")
    )
    if not all(answer.frozen.answers_itself(answer.task) for answer in (a, b)):
        yield (
            f"Encoders without a head for the task are asked by a {config.probe.name} probe with "
            "the options of this command, which need not be their study's."
        )
    if specs[0] != specs[1]:
        yield f"The two have different modalities: A {specs[0]}, B {specs[1]}."
    if a.frozen.size != b.frozen.size:
        yield f"Inputs differ in size: A at {a.frozen.size} px, B at {b.frozen.size} px."
    if cka.equal_seeds:
        yield (
            "Both runs have the same seed, so their encoders may have begun from the same weights, "
            "and CKA between them is higher than between two seeds."
        )
    for name, answer in (("A", a), ("B", b)):
        if cam_layer(answer) is None and config.cam_layer is None:
            yield f"{name}'s encoder has no feature maps, so GradCAM has nothing to show of it."
    for name, constant in zip("AB", cka.left_out, strict=True):
        if constant:
            yield (
                f"{len(constant)} layers of {name} are constant over the patches ({constant[0]}), "
                "so their CKA is undefined; they are left out."
            )
    yield from store.caveats
