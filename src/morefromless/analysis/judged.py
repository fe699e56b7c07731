"""A run's encoder with the probe, or the head, that answers for it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from morefromless.analysis.gradcam import Classifier
from morefromless.analysis.sight import Sight
from morefromless.data.store import Split, Store
from morefromless.errors import ConfigError
from morefromless.evaluation.evaluate import evaluate, judge, trained
from morefromless.evaluation.features import extract, kept
from morefromless.evaluation.probes import LinearProbe
from morefromless.labelling import labelled
from morefromless.options import ProbeOptions
from morefromless.pairs import modality
from morefromless.runs import Run


@dataclass(frozen=True, eq=False)
class Judged:
    """One trained encoder, frozen, and its answers on the test patches that have its view."""

    run: Run
    branch: str
    sight: Sight
    """Of a store labelled with the task, where patches without the view stand in no split."""
    spec: str
    """How the modality is typed."""
    probe: LinearProbe
    probabilities: npt.NDArray[np.float32]
    """(test patches, classes)."""

    @property
    def title(self) -> str:
        """Such as `asymmetric, independent, seed 0`."""
        options = self.run.options
        how = [
            options.get("arm", "supervised"),
            options.get("sharing"),
            f"seed {options['seed']}",
        ]
        return ", ".join(word for word in how if word)

    @property
    def classifier(self) -> Classifier:
        """Encoder and probe as one network."""
        return Classifier(self.sight.encoder, self.probe)

    def features(self, split: Split, device: str) -> npt.NDArray[np.float32]:
        """(patches of the split, width), kept with the run."""
        sight = self.sight
        path = self.run.path / "features" / f"{self.branch}-{split}.npy"
        made: npt.NDArray[np.float32] = kept(
            path,
            lambda: extract(
                sight.encoder,
                sight.store,
                sight.store.indices(split),
                sight.modality,
                sight.size,
                device=device,
            ),
        ).numpy()
        return made


def judged(
    run: Run, branch: str, store: Store, probe: ProbeOptions, task: str, device: str
) -> Judged:
    """A finished run's branch under a task; evaluated where it is not yet.

    Raises `ConfigError` where the run has no such branch, or its probe was removed.
    """
    results = {one.branch: one for one in evaluate(run, store, probe, device, task=task)}
    if branch not in results:
        raise ConfigError(
            f"{run.path} has no branch '{branch}', only {', '.join(results)}; give another "
            "--branch."
        )
    encoder, head, spec = trained(run, store)[branch]
    seen = modality(spec)
    own = labelled(store, task).having([seen.array])
    return Judged(
        run=run,
        branch=branch,
        sight=Sight(encoder.eval(), seen, int(run.options["size"]), own),
        spec=spec,
        probe=judge(run, branch, head, probe, task),
        probabilities=results[branch].probabilities,
    )
