"""Mutants of every kind of foreign file: each is read, or refused in one sentence.

    python -m tests.fuzz [--mutants 20000] [--seed 0] [--first 0]

A mutant follows from the seed and its number alone. They are read in a process of its own, which is
started again where a mutant ends it or takes longer than `PATIENCE`. Ends with status 1 where any
mutant did, or raised what is no refusal; `--first NUMBER --mutants 1` reads one of them again.
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

PATIENCE = 60.0
"""Seconds without an answer that are a hang: the machine may be busy."""
HEAD = 2048
"""Bytes in which most files say what they are."""
TOKENS = (b"null", b"[]", b"{}", b"1e999", b"-1", b'"a"', b"NaN", b"[[", b"9" * 21, b"\xff" * 4)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to five changes: other bytes, bytes lost, bytes more, a part repeated, a token.

    Half of them are near the beginning, where headers stand."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        k = rng.randrange(min(len(changed), rng.choice((HEAD, len(changed)))) + 1)
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


def serve(root: Path, seed: int, first: int, end: int) -> None:
    """In the process that reads: a line for each mutant that was read."""
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
        whole = path.read_bytes()
        path.write_bytes(mutated(whole, rng))
        try:
            READERS[name].read(root / name, path)
            outcome = "read"
        except MoreFromLessError as refused:
            sentence = " ".join(str(refused).split())
            outcome = "refused" if sentence.isprintable() else "odd sentence"
        except Exception:
            print(f"--- mutant {number}: {name}, {path.name}", file=sys.stderr)
            traceback.print_exc()
            outcome = "traceback"
        path.write_bytes(whole)
        replies.write(f"{name}: {outcome}\n")


def run(root: Path, seed: int, first: int, end: int, counts: Counter[str], bar: Bar) -> int:
    """Read mutants in one process until it ends or hangs; the number of the next one."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "--seed", str(seed)]
    command += ["--first", str(first), "--mutants", str(end - first), "--serve", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        pending = b""
        while first < end:
            if not select.select([process.stdout], [], [], PATIENCE)[0]:
                process.kill()
                counts["hang"] += 1
                print(f"--- mutant {first}: hang", file=sys.stderr)
                return first + 1
            data = process.stdout.read(65536)
            if not data:
                counts["native crash"] += 1
                code = process.wait()
                why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                print(f"--- mutant {first}: {why}", file=sys.stderr)
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
    sound = sum(count for key, count in counts.items() if key.endswith((": read", ": refused")))
    sys.exit(sound < options.mutants)


if __name__ == "__main__":
    main()
