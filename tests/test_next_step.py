"""The next step that a command prints works for any arrays of a store."""

import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morefromless.cli import run
from tests.conftest import TINY

OPTIONS = {
    "views": ["--size", "32", "--draws", "1", "--patches", "2"],
    "compare": ["--seeds", "1", "--plan"],
    "train": ["--width", "16"],
}


def image(path: Path, seed: int, mode: str = "RGB") -> str:
    values = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(values).convert(mode).save(path)
    return path.name


def table(root: Path, columns: dict[str, Any], labelled: bool = True) -> Path:
    """40 patches of two classes. Values of `columns` are image modes, or None for vectors."""
    np.save(root / "v.npy", np.random.default_rng(0).random((40, 5), dtype=np.float32))
    rows = [",".join(["id", *["label"] * labelled, *columns])]
    for i in range(40):
        cells = [
            f"v.npy#{i}" if mode is None else image(root / f"{name}{i}.png", 100 * k + i, mode)
            for k, (name, mode) in enumerate(columns.items(), 1)
        ]
        rows.append(",".join([str(i), *["AB"[i % 2]] * labelled, *cells]))
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root / "table.csv"


def commands(output: str) -> list[list[str]]:
    """The commands after `Next:`."""
    step = output.strip().splitlines()[-1]
    assert step.startswith("Next: mfl ")
    return [shlex.split(part)[1:] for part in step.removeprefix("Next: ").split(", then ")]


@pytest.mark.parametrize(
    ("columns", "labelled", "expected"),
    [
        ({"he": "RGB"}, True, "compare store"),
        (
            {"he": "RGB", "ihc": "RGB"},
            True,
            "compare store --primary full --privileged full:ihc",
        ),
        (
            {"ihc": "RGB", "dapi": "L"},
            True,
            "compare store --primary full:ihc --privileged image:dapi,channels=1 "
            "--sharing independent",
        ),
        (
            {"rna": None, "ihc": "RGB"},
            True,
            "compare store --primary full:ihc --privileged vector:5,array=rna "
            "--privileged-encoder mlp --sharing independent",
        ),
        (
            {"rna": None, "ihc": "RGB"},
            False,
            "train store --out RUN --primary full:ihc --privileged vector:5,array=rna "
            "--privileged-encoder mlp",
        ),
        (
            {"ihc": "RGB"},
            True,
            "compare store --primary downsample:7,array=ihc --privileged full:ihc",
        ),
        ({"he": "L"}, True, "train store --out RUN --kind symmetric --primary image:he,channels=1"),
    ],
)
def test_next_step_of_tables_works(
    columns: dict[str, Any],
    labelled: bool,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path, columns, labelled)
    assert run(["ingest", "table.csv", "store"]) == 0
    steps = commands(capsys.readouterr().out)
    assert re.sub(r",low=\d+,high=\d+", "", " ".join(steps[1])) == expected
    run_steps(steps, capsys)


def test_next_step_of_a_control_works(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    source = "synthetic:patches=64,patients=8,size=32,control=both"
    assert run(["ingest", source, "store"]) == 0
    steps = commands(capsys.readouterr().out)
    assert "full:primary" in steps[1]
    run_steps(steps, capsys)


@pytest.mark.parametrize(
    ("primary", "privileged"),
    [
        ("downsample:7", "full"),
        ("downsample:7", "vector:5,array=rna"),
        ("vector:5,array=rna", "full"),
        ("full", "image:dapi,channels=1"),
    ],
)
def test_next_step_of_headroom_works(
    primary: str,
    privileged: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    table(tmp_path, {"he": "RGB", "rna": None, "dapi": "L"})
    assert run(["ingest", "table.csv", "store"]) == 0
    options = ["--primary", primary, "--privileged", privileged]
    with warnings.catch_warnings(action="error"):
        assert run(["headroom", "store", *options]) == 0
    (step,) = commands(capsys.readouterr().out)
    assert run([*step, "--batch", "16", *OPTIONS["compare"]]) == 0, capsys.readouterr().err


def run_steps(steps: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    tiny = {**TINY, "batch": 16, "epochs": 1}
    for words in steps:
        if words[0] in ("compare", "train"):
            words = [*words, *(text for k, v in tiny.items() for text in (f"--{k}", str(v)))]
        assert run([*words, *OPTIONS[words[0]]]) == 0, capsys.readouterr().err
