"""What two encoders say of the same test patches: all that a page or a figure about them needs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Explanation:
    """Two encoders, A and B, each with its probe, on the same N test patches of C classes.

    Thumbnails are uint8 RGB squares of one side T.
    """

    titles: tuple[str, str]
    """How A and B are called, such as `asymmetric, independent s0`."""
    facts: tuple[tuple[str, str, str], ...]
    """Name of a fact, what it is for A, and for B: arm, objective, encoder, accuracy ..."""
    notes: tuple[str, ...]
    """Sentences that must stand beside the results: the store's caveats, what is not shown."""
    classes: tuple[str, ...]
    """C names; a class may be absent from the test patches."""
    ids: tuple[str, ...]
    """N."""
    groups: tuple[str, ...] | None
    """Patient or slide of each patch; None where not known."""
    labels: npt.NDArray[np.int64]
    """(N,) indices into `classes`."""
    probabilities: npt.NDArray[np.float32]
    """(2, N, C), A first."""
    neighbours: npt.NDArray[np.int64]
    """(2, N, K): the K test patches whose features are nearest (cosine), nearest first."""
    primary: npt.NDArray[np.uint8]
    """(N, T, T, 3): what the encoders see."""
    privileged: npt.NDArray[np.uint8] | None
    """(N, T, T, 3): what was present in training only; None where neither run had any."""
    gallery: npt.NDArray[np.int64]
    """(M,) the patches that are shown one by one, the most confident disagreement first."""
    cams: tuple[npt.NDArray[np.uint8] | None, npt.NDArray[np.uint8] | None]
    """For A and B: (M, T, T, 3), GradCAM of the own prediction over the primary view, in the order
    of `gallery`; None for an encoder that has no feature maps."""

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        """(2, N) the likeliest class."""
        made: npt.NDArray[np.int64] = self.probabilities.argmax(axis=2)
        return made

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(2, N) the probability of that class."""
        made: npt.NDArray[np.float32] = self.probabilities.max(axis=2)
        return made

    def confusion(self, side: int) -> npt.NDArray[np.int64]:
        """(C, C) counts of one encoder: rows are the true classes, columns the predicted ones."""
        made: npt.NDArray[np.int64] = np.zeros((len(self.classes),) * 2, np.int64)
        np.add.at(made, (self.labels, self.predictions[side]), 1)
        return made


def disagreements(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Patches of which two encoders (2, N, C) say different classes, the most confident first.

    Confidence in a disagreement is the smaller of the two: both are sure, and one is wrong.
    """
    apart = np.flatnonzero(probabilities[0].argmax(axis=1) != probabilities[1].argmax(axis=1))
    sure = probabilities[:, apart].max(axis=2).min(axis=0)
    made: npt.NDArray[np.int64] = apart[np.argsort(-sure, kind="stable")]
    return made
