"""Questions to the frozen encoders of a run, beside the probe that has all labels. An open set.

`mfl probe RUN --questions few-shot retrieval` asks them. To add one, add a file with one public
class deriving from `Question`.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from morefromless.config import Probe
from morefromless.data.store import Store
from morefromless.evaluation.frozen import FrozenEncoder
from morefromless.evaluation.loading import load_encoders
from morefromless.runs import Run
from morefromless.specs import Member, build
from morefromless.torch_state import own_state


@dataclass(frozen=True)
class Score:
    """A number of the answer, and where it stands in the table."""

    row: str
    column: str
    value: float
    spread: float | None = None
    """Standard deviation over repetitions; None where there are none."""


@dataclass(frozen=True)
class Reply:
    """The answer to a question."""

    title: str
    scores: Sequence[Score]
    notes: Sequence[str]
    """What a reader must know of it."""
    share: bool = True
    """Whether scores are shares, shown in per cent."""


class Question(Member, ABC):
    """Something that is asked of the encoders of one run."""

    @abstractmethod
    def ask(
        self,
        encoders: Mapping[str, FrozenEncoder],
        store: Store,
        probe: Probe,
        task: str,
        device: str = "cpu",
    ) -> Reply:
        """Ask the encoders of a run, by branch. Raises `ConfigError` or `DataError` where these
        encoders or this store cannot be asked."""


def build_question(spec: str) -> Question:
    """A question by its specification, such as `few-shot` or `few-shot:shots=1/10`. Raises
    `ConfigError` where there is none."""
    return build(spec, sys.modules[__name__], Question)


@own_state()
def ask(
    run: Run,
    store: Store,
    questions: Sequence[Question],
    probe: Probe,
    task: str,
    device: str = "cpu",
) -> list[Reply]:
    """The replies of a finished run to questions."""
    encoders = load_encoders(run) if questions else {}
    return [question.ask(encoders, store, probe, task, device) for question in questions]
