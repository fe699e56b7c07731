"""Mutants of every kind of nuclei file: each is read, or refused in one sentence.

    python -m tests.nuclei_formats.fuzz [--mutants 20000] [--seed 0]

Ends with status 1 where a reader raised anything else, or took longer than 10 s; those files are
left in a folder that it names.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from morefromless import nuclei_formats
from morefromless.errors import UnreadablePatch
from morefromless.nuclei_formats import NucleiFormat
from morefromless.specs import members
from tests.nuclei_formats.test_round_trips import SIDE, WRITERS

PATIENCE = 10.0
TOKENS = (b"null", b"[]", b"{}", b"1e999", b"-1", b'"a"', b"NaN", b"[[", b"9" * 21, b"\xff" * 4)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to five changes: other bytes, bytes lost, bytes more, a part repeated, a token."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        k = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0:
                changed[k : k + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[k : k + rng.randint(1, 20)]
            case 2:
                changed[k:k] = rng.randbytes(rng.randint(1, 9))
            case 3:
                start = rng.randrange(len(changed) + 1)
                changed[k:k] = changed[start : start + rng.randint(1, 60)]
            case 4:
                token = rng.choice(TOKENS)
                changed[k : k + len(token)] = token
    return bytes(changed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    formats = members(nuclei_formats, NucleiFormat)
    root = Path(tempfile.mkdtemp())
    for write in WRITERS:
        (root / write.__name__).mkdir()
        write(root / write.__name__)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    counts: Counter[str] = Counter()
    faults = 0
    while counts.total() < options.mutants:
        path = rng.choice(files)
        whole = path.read_bytes()
        path.write_bytes(mutated(whole, rng))
        beside = [other for other in path.parent.parent.rglob("*") if other.is_file()]
        for target in beside if path.parent.parent != root else [path]:
            for name, kind in formats.items():
                if not target.name.lower().endswith(kind.suffixes):
                    continue
                began = time.monotonic()
                try:
                    kind.recognises(target)
                    kind().read(target, (SIDE, SIDE))
                    outcome = "read"
                except UnreadablePatch as refused:
                    outcome = "refused" if str(refused).isprintable() else "odd sentence"
                except Exception:
                    traceback.print_exc()
                    outcome = "traceback"
                if time.monotonic() - began > PATIENCE:
                    outcome = "too slow"
                counts[outcome] += 1
                if outcome not in ("read", "refused"):
                    faults += 1
                    copy = root / f"fault {faults} {name}{target.suffix}"
                    copy.write_bytes(target.read_bytes())
                    print(outcome, copy)
        path.write_bytes(whole)
    print(", ".join(f"{count:,} {outcome}" for outcome, count in counts.items()))
    sys.exit(faults > 0)


if __name__ == "__main__":
    main()
