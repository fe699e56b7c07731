"""Benchmarks: the cost of each stage, compared with its limit and with other packages.

    python -m benchmarks                      every stage
    python -m benchmarks --write              and write docs/benchmarks.md, as `make bench` does
    python -m benchmarks step:size=32 views   some stages, with parameters

To add a stage, add a file with one public class derived from `Stage`. `NAME:...` sets its
`__init__` parameters. Its tables are written to the block `<!-- NAME -->` in docs/benchmarks.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from morefromless.specs import Member

Call = Callable[[], object]
"""The function to measure. A returned float is the seconds that it measured itself, of a part."""


@dataclass(frozen=True)
class Row:
    """One way to do a stage's work."""

    name: str
    prepare: Callable[[], Call]
    """Build what is needed; not measured. Raises `ImportError` if a package is not installed and
    `ConfigError` if this machine cannot do it; the table says so."""
    package: str | None = None
    """The measured package, if it is not this one."""
    figure: Callable[[], str] | None = None
    """A result in addition to the time: an error or a quality."""
    compared: bool = True
    """Whether it does the same work as the first row; otherwise it has no ratio."""


class Stage(Member, ABC):
    """Rows that do the same kind of work. The first is this package's; ratios refer to it."""

    variants: ClassVar[Sequence[str]] = ("",)
    """Parameters of the default measurements: one table each."""
    clock: ClassVar[Literal["processor", "wall"]] = "processor"
    """`processor`: CPU time, which other work on the machine hardly affects. `wall`: wall time, for
    several threads or processes."""
    threads: ClassVar[int] = 1
    memory: ClassVar[bool] = False
    """Whether to measure peak memory, each row in its own process."""
    figure: ClassVar[str] = ""
    """Column head of the rows' figures, if there are any."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What is measured, with its sizes."""

    @property
    @abstractmethod
    def units(self) -> tuple[float, str]:
        """The amount and unit of work of one call: `(128, "patches")`."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """The rows of the table, this package's own first."""
