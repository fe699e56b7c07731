"""Benchmarks: what each stage costs, beside its limit and beside what people use instead.

    python -m benchmarks                      every stage
    python -m benchmarks --write              and the tables of docs/benchmarks.md: `make bench`
    python -m benchmarks step:size=32 views   some stages, with parameters of theirs

An open set: to add a stage, add a file with one public class deriving from `Stage`; its `__init__`
parameters are what `NAME:...` can set. A block `<!-- NAME -->` in docs/benchmarks.md takes its
tables.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from morefromless.specs import Member

Call = Callable[[], object]
"""What is measured. A float that it returns is seconds that it measured itself, of a part."""


@dataclass(frozen=True)
class Row:
    """One way to do a stage's work."""

    name: str
    prepare: Callable[[], Call]
    """Build what is needed, unmeasured. `ImportError` where a package is not installed, and
    `ConfigError` where this machine cannot do it; the table says so."""
    package: str | None = None
    """The package that is measured, where it is not this one."""
    figure: Callable[[], str] | None = None
    """What it yields, beside its time: an error, a quality."""
    compared: bool = True
    """Whether it does the first row's work; otherwise it has no ratio."""


class Stage(Member, ABC):
    """Rows of one kind of work; the first is this package's, and the others' ratios are to it."""

    variants: ClassVar[Sequence[str]] = ("",)
    """Parameters with which the whole program measures it: one table each."""
    clock: ClassVar[Literal["processor", "wall"]] = "processor"
    """Seconds of the processor, which other work on the machine disturbs little, or of the wall,
    where several threads or processes work."""
    threads: ClassVar[int] = 1
    memory: ClassVar[bool] = False
    """Whether peak memory is measured, each row in a process of its own."""
    figure: ClassVar[str] = ""
    """What the rows' figures are, where they have any."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What is measured, with its sizes."""

    @property
    @abstractmethod
    def units(self) -> tuple[float, str]:
        """How much one call does, and of what: `(128, "patches")`."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """The ways, the package's own first."""
