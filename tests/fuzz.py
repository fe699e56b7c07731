"""Mutants of every kind of foreign file: each must be read, or refused in one sentence.

    python -m tests.fuzz [--mutants 20000] [--seed 0] [--first 0]

A mutant depends only on the seed and its number. A separate process reads the mutants; it is
restarted if a mutant ends it or takes longer than `TIMEOUT_SECONDS`. The exit status is 1 if that
happened or a mutant raised an unexpected exception. `--first NUMBER --mutants 1` reads one again.
"""

import argparse
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

from morefromless.progress import Bar

TIMEOUT_SECONDS = 60.0
"""A mutant without a reply for this long counts as a hang; the machine may be busy."""
HEADER_BYTES = 2048
"""Size of the part that holds the header of most files."""
TOKENS = (b"null", b"[]", b"{}", b"1e999", b"-1", b'"a"', b"NaN", b"[[", b"9" * 21, b"\xff" * 4)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Apply one to five changes: replace, delete or insert bytes, repeat a part, or write a token.

    About half of them are near the beginning, where headers are."""
    mutant = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        k = rng.randrange(min(len(mutant), rng.choice((HEADER_BYTES, len(mutant)))) + 1)
        match rng.randrange(5):
            case 0:
                mutant[k : k + 1] = bytes([rng.randrange(256)])
            case 1:
                del mutant[k : k + rng.randint(1, 20)]
            case 2:
                mutant[k:k] = rng.randbytes(rng.randint(1, 9))
            case 3:
                start = rng.randrange(len(mutant) + 1)
                mutant[k:k] = mutant[start : start + rng.randint(1, 60)]
            case 4:
                token = rng.choice(TOKENS)
                mutant[k : k + len(token)] = token
    return bytes(mutant)


def serve(root: Path, seed: int, first: int, end: int) -> None:
    """Read mutants in the separate process, and write one line per mutant."""
    from morefromless.errors import MoreFromLessError
    from tests.readers import READERS

    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    files = {name: reader.write(root / name) for name, reader in READERS.items()}
    replies.write("ready\n")
    for number in range(first, end):
        rng = random.Random(f"{seed} {number}")
        name = rng.choice([*READERS])
        path = rng.choice(files[name])
        original = path.read_bytes()
        path.write_bytes(mutate(original, rng))
        try:
            READERS[name].read(root / name, path)
            outcome = "read"
        except MoreFromLessError as error:
            message = " ".join(str(error).split())
            outcome = "refused" if message.isprintable() else "odd sentence"
        except Exception:
            print(f"--- mutant {number}: {name}, {path.name}", file=sys.stderr)
            traceback.print_exc()
            outcome = "traceback"
        path.write_bytes(original)
        replies.write(f"{name}: {outcome}\n")


def run(root: Path, seed: int, first: int, end: int, counts: Counter[str], bar: Bar) -> int:
    """Read mutants in one process until it ends or hangs; return the number of the next mutant."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "--seed", str(seed)]
    command += ["--first", str(first), "--mutants", str(end - first), "--serve", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        pending = b""
        while first < end:
            if not select.select([process.stdout], [], [], TIMEOUT_SECONDS)[0]:
                process.kill()
                counts["hang"] += 1
                print(f"--- mutant {first}: hang", file=sys.stderr)
                return first + 1
            data = process.stdout.read(65536)
            if not data:
                counts["native crash"] += 1
                code = process.wait()
                reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                print(f"--- mutant {first}: {reason}", file=sys.stderr)
                return first + 1
            *lines, pending = (pending + data).split(b"\n")
            counts.update(line.decode() for line in lines)
            bar.update(len(lines))
            first += len(lines)
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--serve", type=Path)
    options = parser.parse_args()
    number, end = options.first, options.first + options.mutants
    if options.serve:
        serve(options.serve, options.seed, number, end)
        return
    counts: Counter[str] = Counter()
    with Bar(total=options.mutants, desc="mutants") as bar:
        while number < end:
            with tempfile.TemporaryDirectory() as root:
                number = run(Path(root), options.seed, number, end, counts, bar)
    for outcome, count in sorted(counts.items()):
        print(f"{count:7,} {outcome}")
    passed = sum(count for key, count in counts.items() if key.endswith((": read", ": refused")))
    sys.exit(passed < options.mutants)


if __name__ == "__main__":
    main()
