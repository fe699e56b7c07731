"""python -m benchmarks [STAGE ...]"""

import argparse
import json
import sys
from pathlib import Path

import benchmarks
from benchmarks import Stage
from benchmarks._measure import ROUNDS, measure, measure_memory, peak, section
from morefromless.errors import MoreFromLessError
from morefromless.progress import Bar
from morefromless.report.section import fill_blocks
from morefromless.specs import build, members, split

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"


def main(arguments: list[str] | None = None) -> None:
    """Measure stages, print their tables and, with `--write`, write them into the page.

    Raises `ConfigError` if a stage or a parameter does not exist.
    """
    known = members(benchmarks, Stage)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("stages", nargs="*", help=f"any of {', '.join(known)}; default: all")
    help_rounds = f"measurements per row; default: {ROUNDS}, fewer if a table takes long"
    parser.add_argument("--rounds", type=int, help=help_rounds)
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, help="page to write tables to")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    specs = [
        f"{spec}:{variant}" if variant else spec
        for spec in given.stages or known
        for variant in (known[spec].variants if spec in known else [""])
    ]
    stages = {spec: build(spec, benchmarks, Stage) for spec in specs}
    if given.peak:
        print(json.dumps(peak(stages[specs[0]], given.peak)))
        return
    blocks: dict[str, str] = {}
    for spec in Bar(specs, desc="benchmarks", unit="table"):
        stage = stages.pop(spec)  # frees its data after this table
        measured = measure(stage, given.rounds)
        if stage.memory:
            measure_memory(spec, measured)
        table = section(stage, measured)
        table.show()
        if all(row.absent for row in measured):
            continue  # keep the page's table of another machine, such as one with a GPU
        name = split(spec)[0]
        blocks[name] = f"{blocks.get(name, '')}\n\n{table.markdown().strip()}".strip()
    if given.write:
        page = given.write.read_text(encoding="utf-8")
        given.write.write_text(fill_blocks(page, blocks), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except MoreFromLessError as error:
        sys.exit(str(error))
