"""Compare two runs on the same test patches (`mfl explain`)."""

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
from morefromless.evaluation.evaluate import Answer, evaluate_branch, open_store
from morefromless.evaluation.metrics import confusion
from morefromless.pairs import build_modality
from morefromless.progress import Bar
from morefromless.runs import Run
from morefromless.tasks import build_task

Rows = npt.NDArray[np.int64]
NEIGHBOURS = 5
"""Number of nearest test patches that are listed for each patch."""


@dataclass(frozen=True, eq=False)
class Disagreements:
    """Results of two encoders, A and B, each with its probe, on the same N test patches, C classes.

    Contains all data of the page and its figures. Thumbnails are square uint8 RGB images of side T.
    """

    config: ExplainConfig
    store: Store
    answers: tuple[Answer, Answer]
    cka: LayerCka
    """CKA between layers of A and layers of B."""
    titles: tuple[str, str]
    """Titles of A and B, such as `asymmetric, independent, seed 0`."""
    facts: tuple[tuple[str, str, str], ...]
    """Name of a fact, its value for A, its value for B: arm, objective, encoder, epochs ..."""
    notes: tuple[str, ...]
    """Notes that must appear next to the results: the store's caveats, what is not shown."""
    rows: Rows
    """(N,) test patches of both encoders, as rows of the store."""
    probabilities: npt.NDArray[np.float32]
    """(2, N, C), A first."""
    features: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    """(N, width) for each encoder."""
    neighbours: npt.NDArray[np.int64]
    """(2, N, K): the K test patches whose features are nearest (cosine), nearest first."""
    primary: Pictures
    """(N, T, T, 3): the encoders' input."""
    privileged: Pictures | None
    """(N, T, T, 3): the denser view, see `dense_modality`; None if there is none."""
    gallery: Rows
    """(M,) patches that are shown one by one, the most confident disagreement first."""
    cams: tuple[Pictures | None, Pictures | None]
    """For A and B: (M, T, T, 3), GradCAM of the encoder's prediction over the primary view, in the
    order of `gallery`; None for an encoder without feature maps."""

    @property
    def classes(self) -> tuple[str, ...]:
        """C names; the test patches may contain no patch of a class."""
        return self.store.classes

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.store.table["id"].iloc[self.rows])

    @property
    def groups(self) -> tuple[str, ...] | None:
        """Patient or slide of each patch; None if unknown."""
        if not self.store.groups_known:
            return None
        return tuple(map(str, self.store.table["group"].iloc[self.rows]))

    @property
    def labels(self) -> Rows:
        """(N,) indices into `classes`."""
        return self.store.labels[self.rows]

    @property
    def predictions(self) -> Rows:
        """(2, N) the most probable class."""
        return np.asarray(self.probabilities.argmax(axis=2))

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(2, N) the probability of that class."""
        return np.asarray(self.probabilities.max(axis=2))

    def confusion(self, side: int) -> Rows:
        """(C, C) counts of one encoder: rows are true classes, columns are predicted classes."""
        return confusion(self.predictions[side], self.labels, len(self.classes))

    def summary_lines(self) -> Iterator[str]:
        """Yield the number of correct patches of each encoder, and of disagreements."""
        predictions = self.predictions
        for side, title in enumerate(self.titles):
            correct = int((predictions[side] == self.labels).sum())
            yield f"{title}: {correct:,} of {len(self.ids):,} test patches correct"
        yield f"They disagree on {int((predictions[0] != predictions[1]).sum()):,}."


def explain(config: ExplainConfig) -> Disagreements:
    """Evaluate two runs, unless they are already evaluated, and compare them on their common test
    patches.

    Raises `ConfigError` or `DataError` if they have no common test patches, or if a run does not
    have the requested branch.
    """
    runs = (Run.open(config.run_a, config.trust), Run.open(config.run_b, config.trust))
    _check_same_patches(*runs)
    full_store = open_store(runs[0], config.store)
    task = config.task or runs[0].config.arm.task
    device = resolve_device(config.analysis.device)
    with Bar(total=5, desc="explain", unit="part") as bar:
        a, b = (
            evaluate_branch(run, config.branch, full_store, config.probe, task, device)
            for run in runs
        )
        store = full_store.select(a.frozen.modality, b.frozen.modality, task=build_task(task))
        rows = store.indices("test")
        if not len(rows):
            raise DataError(f"No test patch of {store.path} has the views of both runs.")
        bar.update()
        features = (_features(a, full_store, rows, device), _features(b, full_store, rows, device))
        probabilities = np.stack(
            [_values_of_rows(answer, rows, answer.probabilities) for answer in (a, b)]
        )
        bar.update()
        gallery = disagreements(probabilities)
        if config.gallery == "all":
            gallery = np.concatenate([gallery, np.setdiff1d(np.arange(len(rows)), gallery)])
        primary, privileged = _pictures(a, b, store, rows, config.thumbnail)
        bar.update()
        cams_by_encoder = (
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
        cams=cams_by_encoder,
    )


def disagreements(probabilities: npt.NDArray[Any]) -> Rows:
    """Patches that two encoders classify differently, the most confident first: (2, N, C) -> (M,).

    The confidence of a disagreement is the lower of the two confidences.

    >>> disagreements(np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.2, 0.8], [0.7, 0.3]]]))
    array([0])
    """
    different = np.flatnonzero(probabilities[0].argmax(axis=1) != probabilities[1].argmax(axis=1))
    confidence = probabilities[:, different].max(axis=2).min(axis=0)
    return np.asarray(different[np.argsort(-confidence, kind="stable")])


def dense_modality(answers: Sequence[Answer]) -> str | None:
    """The modality shown next to the input: a run's privileged image, else the whole patch.

    None if neither differs from the input.
    """
    frozen, store = answers[0].frozen, answers[0].store
    configs = [answer.frozen.config for answer in answers]
    partners = [c.arm.privileged for c in configs if c and c.arm.kind in ("asymmetric", "trident")]
    for spec in (*partners, f"full:{frozen.modality.array}"):
        modality = build_modality(spec)
        displayable = not modality.vector and modality.array in store.arrays
        if displayable and modality != frozen.modality:
            return spec
    return None


def cam_layer(answer: Answer) -> str | None:
    """The layer of the GradCAMs next to each patch; None if the encoder has no feature maps."""
    encoder = answer.frozen.encoder
    device = next(encoder.parameters()).device  # the device on which features were computed
    return last_gradcam_layer(encoder, answer.frozen.render(answer.store, np.array([0]), device))


def _check_same_patches(a: Run, b: Run) -> None:
    if a.path.resolve() == b.path.resolve():
        raise ConfigError(f"{a.path} is given twice; give another run to compare it with.")
    if a.record.store_hash != b.record.store_hash:
        raise DataError(
            f"{a.path} and {b.path} were trained on different stores ({a.config.store} and "
            f"{b.config.store}), so they have no common test patches; give two runs of one store."
        )


def _values_of_rows(answer: Answer, rows: Rows, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Select the values of the patches `rows` from values of all test patches of an encoder."""
    return np.asarray(values[np.searchsorted(answer.store.indices("test"), rows)])


def _features(answer: Answer, store: Store, rows: Rows, device: str) -> npt.NDArray[np.float32]:
    return _values_of_rows(answer, rows, answer.frozen.features(store, "test", device).numpy())


def _pictures(
    a: Answer, b: Answer, store: Store, rows: Rows, side: int
) -> tuple[Pictures, Pictures | None]:
    """Pictures of A's input and of the denser view (`dense_modality`)."""
    frozen = a.frozen
    primary = pictures(frozen.modality, store, rows, frozen.size, side)
    denser = dense_modality((a, b))
    if denser is None:
        return primary, None
    return primary, pictures(build_modality(denser), store, rows, max(frozen.size, side), side)


def _cams(
    answer: Answer, store: Store, rows: Rows, config: ExplainConfig, device: str
) -> Pictures | None:
    """GradCAM over the patches; None if the encoder has no feature maps."""
    layer = config.cam_layer or cam_layer(answer)
    if layer is None:
        return None
    (name,) = select_layers(answer.frozen.encoder, [layer])
    return cams(answer, store, rows, [name], config.thumbnail, device)[name]


def _titles(a: Answer, b: Answer) -> tuple[str, str]:
    """The shortest titles that differ: arm only, with the folder's name, or with its path."""
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
        + (f" and, next to it, {denser}." if denser else ".")
    )
    if not all(answer.frozen.uses_own_head(answer.task) for answer in (a, b)):
        yield (
            f"Encoders without a head for the task are evaluated with a {config.probe.name} probe "
            "with the options of this command, which may differ from those of their study."
        )
    if specs[0] != specs[1]:
        yield f"The two have different modalities: A {specs[0]}, B {specs[1]}."
    if a.frozen.size != b.frozen.size:
        yield f"Inputs differ in size: A at {a.frozen.size} px, B at {b.frozen.size} px."
    if cka.equal_seeds:
        yield (
            "Both runs have the same seed, so their encoders may have the same initial weights, "
            "and CKA between them is higher than between two seeds."
        )
    for name, answer in (("A", a), ("B", b)):
        if cam_layer(answer) is None and config.cam_layer is None:
            yield f"{name}'s encoder has no feature maps, so it has no GradCAM."
    for name, constant in zip("AB", cka.constant_layers, strict=True):
        if constant:
            yield (
                f"{len(constant)} layers of {name} are constant over the patches ({constant[0]}), "
                "so their CKA is undefined; they are excluded."
            )
    yield from store.caveats
