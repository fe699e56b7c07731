"""Questions: additional evaluations of a run's frozen encoders, next to the usual probe.

`mfl probe RUN --questions few-shot retrieval` runs them. To add a question, add a file with one
public subclass of `Question`.
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
from morefromless.torch_state import preserved_torch_state


@dataclass(frozen=True)
class Score:
    """One number of a reply, and its cell in the table."""

    row: str
    column: str
    value: float
    spread: float | None = None
    """Standard deviation over repetitions, or None without repetitions."""


@dataclass(frozen=True)
class Reply:
    """The result of a question."""

    title: str
    scores: Sequence[Score]
    notes: Sequence[str]
    """Notes that are printed with the scores."""
    share: bool = True
    """Whether the scores are fractions, shown in per cent."""


class Question(Member, ABC):
    """An evaluation of the encoders of one run."""

    @abstractmethod
    def evaluate(
        self,
        encoders: Mapping[str, FrozenEncoder],
        store: Store,
        probe: Probe,
        task: str,
        device: str = "cpu",
    ) -> Reply:
        """Evaluate the encoders of a run, given by branch. Raises `ConfigError` or `DataError` if
        the question does not apply to these encoders or this store."""


def build_question(spec: str) -> Question:
    """Build a question from its specification, such as `few-shot` or `few-shot:shots=1/10`.

    Raises `ConfigError` if there is no such question."""
    return build(spec, sys.modules[__name__], Question)


@preserved_torch_state()
def evaluate_questions(
    run: Run,
    store: Store,
    questions: Sequence[Question],
    probe: Probe,
    task: str,
    device: str = "cpu",
) -> list[Reply]:
    """Run questions on a finished run."""
    encoders = load_encoders(run) if questions else {}
    return [question.evaluate(encoders, store, probe, task, device) for question in questions]
