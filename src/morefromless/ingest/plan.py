"""What an unfinished ingest was making, so that only the same one goes on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from morefromless.data import atomic
from morefromless.errors import DataError
from morefromless.ingest.decoding import Shape
from morefromless.ingest.options import Options


@dataclass(frozen=True)
class Plan:
    """What determines the decoded rows."""

    listing: str
    """Fingerprint of what the source lists."""
    count: int
    """Number of items listed."""
    size: int | None
    resize: int | None
    shape: Shape
    missing: str = "drop"

    def save(self, path: Path) -> None:
        atomic.write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> "Plan":
        """The plan in `path`. Raises `DataError` where it cannot be read."""
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            told = held.pop("shape")
            shape = Shape(
                tuple(told["images"]),
                told["expected"],
                told["side"],
                dict(told["vectors"]),
                tuple(told.get("optional", ())),
            )
            return cls(shape=shape, **held)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged; remove {path.parent} and run again.") from error

    def check(self, work: Path, listing: str, count: int, options: Options) -> None:
        """Raise `DataError`, saying what differs, unless this source and options made it."""
        differing = []
        if self.listing != listing:
            other = f"{self.count} patches, not {count}" if self.count != count else "other patches"
            differing.append(f"the source listed {other}")
        for name in ("size", "resize", "missing"):
            was, now = getattr(self, name), getattr(options, name)
            if was != now:
                differing.append(f"--{name} was {was or 'not given'}, not {now or 'left out'}")
        if differing:
            raise DataError(
                f"{work} holds an unfinished ingest of something else ({'; '.join(differing)}); "
                "remove that folder, or choose another destination."
            )
        for name in self.shape.arrays:
            if not (work / f"{name}.rows").is_file() and not (work / f"store/{name}.npy").is_file():
                raise DataError(f"{work} lacks {name}.rows; remove that folder and run again.")
