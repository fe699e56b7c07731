"""How many patches one core draws in a second, by tissue class, at 64 and 224 px.

    python benchmarks/synthesis_speed.py [--patches 20] [--sizes 64 224]

Draws in one thread and counts that thread's CPU time, so a busy machine does not make it look
slower. The target is 100 patches/s per core at 64 px.
"""

import argparse
import time

from morefromless.synthesis import DRAWINGS, Patient, Rng, draw, draw_pair


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--patches", type=int, default=20, help="per class and size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 224])
    options = parser.parse_args()

    print("patches/s " + "".join(f"{size:>7} px" for size in options.sizes))
    seconds = dict.fromkeys(options.sizes, 0.0)
    for name in DRAWINGS:
        row = f"{name:10}"
        for size in options.sizes:
            taken = timed(lambda i, name=name, size=size: one(name, i, size), options.patches)
            seconds[size] += taken
            row += f"{options.patches / taken:10.0f}"
        print(row)
    count = options.patches * len(DRAWINGS)
    print(f"{'all nine':10}" + "".join(f"{count / taken:10.0f}" for taken in seconds.values()))
    row = f"{'pairs':10}"
    for size in options.sizes:
        taken = timed(lambda i, size=size: pair(i, size), options.patches)
        row += f"{options.patches / taken:10.0f}"
    print(row)


def one(name: str, index: int, size: int) -> None:
    draw(name, Patient.drawn(Rng(0, 0, index % 30)), Rng(0, 1, index), size)


def pair(index: int, size: int) -> None:
    patient = Patient.drawn(Rng(0, 0, index % 30))
    draw_pair("positive", ("ADI", "LYM", "MUS", "NORM")[index % 4], patient, Rng(0, index), size)


def timed(call, repeats: int) -> float:  # type: ignore[no-untyped-def]
    """Seconds of CPU time for `repeats` calls, after one to warm up."""
    call(0)
    start = time.thread_time()
    for index in range(repeats):
        call(index)
    return time.thread_time() - start


if __name__ == "__main__":
    main()
