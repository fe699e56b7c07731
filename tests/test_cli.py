"""The command line, and one sentence for every user error."""

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import morefromless
from morefromless import cli, files
from morefromless.config import RunConfig, to_flat
from morefromless.data.store import Store
from morefromless.errors import TrainingError
from morefromless.runs import Run
from morefromless.training.supervised import supervise
from tests.conftest import run_config

QUICK = [
    "--size",
    "32",
    "--encoder",
    "test_resnet",
    "--epochs",
    "1",
    "--batch",
    "32",
    "--width",
    "64",
    "--device",
    "cpu",
]


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must exit with 2, and return its one-line error message."""
    capsys.readouterr()
    assert cli.run(arguments) == 2
    lines = re.split(r"\r|\n|\x1b\[A", capsys.readouterr().err)  # progress bars end in these
    errors = [line for line in lines if line.startswith("mfl ")]
    assert len(errors) == 1
    assert "Traceback" not in errors[0]
    return errors[0]


def _noise(seed: int, shape: tuple[int, ...] = (20, 20, 3)) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _folder(root: Path, classes: str = "AB", per_class: int = 10) -> Path:
    for number in range(per_class * len(classes)):
        path = root / classes[number % len(classes)] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_noise(number)).save(path)
    return root


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_a_help_text(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run([command, "--help"])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    assert "usage: mfl" in output
    assert len(output.splitlines()) > 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "s", "--out", "r", "--epochs", "2.5"], "'2.5' is not a whole number."),
        (["ingest", "p", "s", "--resize", "33.5"], "'33.5' is not a whole number."),
        (["train", "s", "--out", "r", "--lr", "fast"], "'fast' is not a number."),
        (["tile", "p", "s", "--low-power", "2,5"], "'2,5' is not a number."),
    ],
    ids=["int", "int or none", "float", "float or none"],
)
def test_mistyped_number_is_named_in_plain_words(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run(words)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Got errors" not in printed
    assert "None" not in printed


def test_mistyped_option_gets_suggestions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run(["compare", "store", "--epoch", "3"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "--epochs" in error
    assert "mfl train" not in error  # although it has this option too


# Unusable sources: functions that write them below `root`.
def _missing(root: Path) -> Path:
    return root / "nowhere"


def _one_class(root: Path) -> Path:
    return _folder(root / "one", "A")


def _only_text(root: Path) -> Path:
    for name in ("A", "B"):
        (root / "text" / name).mkdir(parents=True)
        (root / "text" / name / "x.png").write_text("not a picture")
    return root / "text"


def _only_truncated(root: Path) -> Path:
    for name in ("A", "B"):
        (root / "cut" / name).mkdir(parents=True)
        path = root / "cut" / name / "x.jpg"
        Image.fromarray(_noise(1, (64, 64, 3))).save(path)
        path.write_bytes(path.read_bytes()[:700])
    return root / "cut"


def _only(mode: str, dtype: type, channels: tuple[int, ...]) -> Any:
    def make(root: Path) -> Path:
        for number, name in enumerate("AB"):
            path = root / "mode" / name / "x.png"
            path.parent.mkdir(parents=True)
            values = _noise(number, (20, 20, *channels)).astype(dtype)
            image = Image.fromarray(values)
            assert image.mode == mode
            image.save(path)
        return root / "mode"

    return make


def _empty_files(root: Path) -> Path:
    for name in ("A", "B"):
        (root / "empty" / name).mkdir(parents=True)
        (root / "empty" / name / "x.png").touch()
    return root / "empty"


def _wrong_keys(root: Path) -> Path:
    np.savez(root / "wrong.npz", pictures=_noise(0, (4, 8, 8, 3)))
    return root / "wrong.npz"


def _labels_differ(root: Path) -> Path:
    _folder(root / "split" / "train", "AB")
    _folder(root / "split" / "test", "AC")
    return root / "split"


def _no_images(root: Path) -> Path:
    (root / "slides").mkdir()
    (root / "slides" / "a.svs").touch()
    return root / "slides"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_missing, "nowhere"),
        (_one_class, "class"),
        (_only_text, "None of the 2 patches can be used"),
        (_only_truncated, "None of the 2 patches can be used"),
        (_only("L", np.uint8, ()), "grey"),
        (_only("RGBA", np.uint8, (4,)), "transparen"),
        (_only("I;16", np.uint16, ()), "None of the 2 patches can be used"),
        (_empty_files, "None of the 2 patches can be used"),
        (_wrong_keys, "pictures"),
        (_labels_differ, "C"),
        (_no_images, "no patches, only 1 x file ending in '.svs'; cut slides into tiles with mfl"),
    ],
    ids=[
        "missing",
        "one class",
        "text",
        "truncated",
        "grey",
        "RGBA",
        "16-bit",
        "0 bytes",
        "npz keys",
        "labels differ",
        "slides",
    ],
)
def test_unusable_sources_are_refused(
    make: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert message in error_of(capsys, "ingest", str(make(tmp_path)), str(store))
    assert not store.exists()


def test_single_bad_files_are_rejected_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _folder(tmp_path / "source")
    (source / "A" / "text.png").write_text("not a picture")
    (source / "B" / "empty.png").touch()
    Image.fromarray(_noise(99, (24, 24, 3))).save(source / "B" / "large.png")
    assert "--strict" in error_of(capsys, "ingest", str(source), str(tmp_path / "s"), "--strict")
    assert cli.run(["ingest", str(source), str(tmp_path / "s")]) == 0
    summary = capsys.readouterr().out.strip().splitlines()[-2]
    assert "contains 20 patches" in summary
    assert "3 rejected" in summary


def test_groups_are_read_from_paths(tmp_path: Path) -> None:
    for number in range(24):
        path = tmp_path / "source" / "AB"[number % 2] / f"p{number // 4}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_noise(number)).save(path)
    source, store = str(tmp_path / "source"), tmp_path / "store"
    assert cli.run(["ingest", source, str(store), "--group", r"(p\d+)_"]) == 0
    opened = Store.open(store)
    splits = opened.table.groupby("group")["split"].nunique()
    assert len(splits) == 6
    assert (splits == 1).all()


def test_teacher_without_distillation_is_refused_for_new_runs(
    tissue: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = run_config(tissue.path, tmp_path / "run", teacher="resnet18", epochs=1, batch=64)
    command = ["train", str(tissue.path), "--out", str(earlier.out), "--teacher", "resnet18"]
    assert "--teacher is for students; give --kind distillation too" in error_of(capsys, *command)
    assert not earlier.out.exists()
    Run.begin(earlier, tissue.hash)
    assert cli.run(["train", "--config", str(earlier.out / "config.yaml")]) == 0
    assert Run(earlier.out).config.pairing.teacher == "resnet18"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--primary", "downsample:0"], "downsample"),
        (["--primary", "downsample:64"], "64"),
        (["--primary", "full:ihc", "--privileged", "full"], "no array 'ihc', only he"),
        (["--encoder", "resnet51"], "did you mean"),
        (["--batch", "1000"], "larger than"),
        (["--batch", "0"], "--batch is 0; give 1 or more"),
        (["--lr", "0"], "--lr is 0"),
        (["--warmup", "1"], "not shorter than the run"),
        (["--views", "table-s2"], "did you mean table-s1"),
        (["--objectives", "vicrag"], "did you mean vicreg"),
        (["--primary", "full"], "both --primary and --privileged"),
        (["--teacher", "resnet18:pretrained=true"], "--teacher is for students"),
        (["--teacher-size", "64"], "--teacher-size is for students"),
    ],
)
def test_impossible_comparisons_are_refused(
    arguments: list[str],
    message: str,
    tissue: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    fixed = ["--out", str(out), "--seeds", "1", "--jobs", "1"]
    options = [*QUICK]
    for name, value in zip(arguments[::2], arguments[1::2], strict=True):
        if name in options:
            options[options.index(name) + 1] = value
        else:
            options += [name, value]
    assert message in error_of(capsys, "compare", str(tissue.path), *fixed, *options)
    assert not list(out.rglob("weights.safetensors"))


def test_missing_store_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no store" in error_of(capsys, "compare", str(tmp_path / "none"), *QUICK)


def test_checkpoint_of_another_encoder_is_refused(
    supervision: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = supervise(supervision)
    encoder = json.loads(run.encoder_path.read_text())
    encoder["branches"]["primary"]["encoder"] = "test_vit"
    run.finish(run.weights(), {}, encoder)
    assert "checkpoint of another encoder" in error_of(capsys, "probe", str(run.path))


def test_folder_of_another_run_is_refused(
    supervision: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = supervise(supervision)
    command = ["train", "--config", str(run.path / "config.yaml")]
    assert cli.run(command) == 0  # the same run: nothing to do
    assert "--lr was 0.001, is 0.01" in error_of(capsys, *command, "--lr", "0.01")


def test_run_is_repeated_from_its_config_file(
    tissue: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = tmp_path / "first"
    arguments = ["train", str(tissue.path), "--out", str(first), *QUICK]
    assert cli.run(arguments) == 0
    repetition = [
        "train",
        "--config",
        str(first / "config.yaml"),
        "--out",
        str(tmp_path / "second"),
    ]
    assert cli.run(repetition) == 0
    first_run, second_run = (Run.open(tmp_path / name) for name in ("first", "second"))
    assert first_run.record.key == second_run.record.key
    assert first_run.weights_path.read_bytes() == second_run.weights_path.read_bytes()
    assert cli.run(["probe", str(first), "--probe-epochs", "2"]) == 0
    output = capsys.readouterr().out
    assert "primary" in output
    assert "privileged" in output


def test_options_from_a_file_are_checked(
    pretraining: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(yaml.safe_dump({**to_flat(pretraining), "colour": "red"}))
    assert "has the unknown option 'colour'; remove it" in error_of(
        capsys, "train", "--config", str(file)
    )
    file.write_text("epoch: 3\n")
    assert "did you mean epochs?" in error_of(capsys, "train", "--config", str(file))
    for document in ("[1, 2]", "text", "null", "7"):
        file.write_text(document)
        assert "must be a mapping of options" in error_of(capsys, "train", "--config", str(file))
    file.write_text(yaml.safe_dump({**to_flat(pretraining), "lr": [1]}))
    assert "'lr'" in error_of(capsys, "train", "--config", str(file))
    file.write_bytes(b"\xff")
    assert "cannot be read" in error_of(capsys, "train", "--config", str(file))
    file.write_text("[")
    assert "cannot be read" in error_of(capsys, "train", "--config", str(file))
    missing = str(tmp_path / "none.yaml")
    assert "cannot be read" in error_of(capsys, "train", "--config", missing)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_config_file_may_omit_typed_options(command: str, tmp_path: Path) -> None:
    """So one file of settings can be used for several stores."""
    file = tmp_path / "options.yaml"
    file.write_text("{}")
    words = shlex.split(cli.COMMANDS[command].example)[1:]
    parsed = cli._parse([*words, "--config", str(file)], command)
    assert parsed == cli._parse(words, command)


def test_missing_required_argument_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("sharing: independent")
    with pytest.raises(SystemExit):
        cli.run(["compare", "--config", str(file)])
    assert "STORE" in capsys.readouterr().err


def test_run_on_unlabelled_patches_is_probed_on_labelled_ones(
    tissue: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for row in range(24):
        (tmp_path / "patches").mkdir(exist_ok=True)
        image = Image.fromarray(np.asarray(tissue.array("he")[row]))
        image.save(tmp_path / "patches" / f"{row}.png")
    unlabelled_store, run = str(tmp_path / "bare"), tmp_path / "run"
    assert cli.run(["ingest", str(tmp_path / "patches"), unlabelled_store, "--unlabelled"]) == 0
    file = tmp_path / "options.yaml"
    options = to_flat(run_config(tmp_path / "bare", run, primary="downsample:4", epochs=1, batch=8))
    file.write_text(yaml.safe_dump(options))
    assert cli.run(["train", "--config", str(file)]) == 0
    assert capsys.readouterr().out.endswith("run --store LABELLED\n")
    probe_command = ["probe", str(run), "--store", str(tissue.path), "--probe-epochs", "2"]
    assert cli.run(probe_command) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert f"whether they include test patches of {tissue.path}" in output
    assert output.count("so the two are not compared") <= 1
    assert "privileged" in output
    predict_command = [
        "predict",
        str(run),
        str(tmp_path / "patches"),
        "--to",
        str(tmp_path / "p.csv"),
    ]
    assert cli.run(predict_command) == 0  # with the probe that is now in the run's folder
    assert "another store" not in capsys.readouterr().out


def test_full_disk_during_training_is_reported(
    supervision: RunConfig,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    def raise_disk_full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "weights.safetensors")

    monkeypatch.setattr("morefromless.runs.save_file", raise_disk_full)
    file = tmp_path / "options.yaml"
    file.write_text(yaml.safe_dump(to_flat(supervision)))
    assert "disk is full" in error_of(capsys, "train", "--config", str(file))
    assert not (supervision.out / "weights.safetensors").exists()
    assert not list(supervision.out.glob("*.partial"))


def test_views_command_writes_an_image(tissue: Store, tmp_path: Path) -> None:
    out = tmp_path / "views.png"
    arguments = [
        "views",
        str(tissue.path),
        "--out",
        str(out),
        "--size",
        "32",
        "--primary",
        "downsample:4",
        "downsample:8",
        "--draws",
        "2",
        "--patches",
        "4",
    ]
    assert cli.run(arguments) == 0
    with Image.open(out) as image:
        assert image.width > image.height > 300


@pytest.mark.parametrize(
    "record",
    [
        {"options": 7},
        {"options": {"epochs": "many"}},
        {"options": {}},
        {"facts": []},
        {"versions": None},
        {"key": 7},
        {"store_hash": {}},
    ],
)
def test_run_record_with_wrong_types_is_refused(
    record: dict[str, Any],
    trained: dict[str, Run],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Run(Path(shutil.copytree(trained["supervised"].path, tmp_path / "run")))
    files.write_json(run.record_path, {**json.loads(run.record_path.read_text()), **record})
    assert "run.json" in error_of(capsys, "probe", str(run.path))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_list_of_commands_fits_the_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    outputs = []
    for arguments in ([], ["-h"], ["--help"]):
        assert cli.run(arguments) == 0
        outputs.append(capsys.readouterr().out)
    lines = outputs[0].splitlines()
    assert outputs == [outputs[0]] * 3
    assert max(map(len, lines)) <= width
    for command, entry in cli.COMMANDS.items():
        assert any(line.startswith(f"  {command} ") for line in lines)
        if width >= 80:  # each has one line
            assert any(
                line.endswith(entry.summary.split(". ")[0].rstrip(".") + ".") for line in lines
            )


def test_version_and_mistyped_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"morefromless {morefromless.__version__}\n"
    assert cli.run(["compair", "store"]) == 2
    assert capsys.readouterr().err.startswith("mfl: There is no command 'compair'; did you mean")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_has_a_valid_example_and_plain_types(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.run([command, "--help"])
    output = capsys.readouterr().out
    assert not re.search(r"\b(STR|INT|FLOAT|PATH|None)\b", output)
    flat = " ".join(output.replace("│", " ").split())
    for word, sentence in re.findall(r" (FILE|FOLDER) (File|Folder)\b", flat):
        assert sentence.upper() == word
    body = output.partition("\n\n")[2]
    assert max(map(len, body.splitlines())) <= 80
    assert body.splitlines()[-1].strip() == cli.COMMON_OPTIONS_NOTE
    assert all(
        option in cli.COMMON_OPTIONS_NOTE for option in cli.COMMON_OPTIONS if option != "--help"
    )
    example = cli.COMMANDS[command].example
    assert " ".join(example.split()) in " ".join(output.split())
    words = shlex.split(example)[1:]
    assert type(cli._parse(words, words[0])) is cli.COMMANDS[command].config
    with pytest.raises(SystemExit):
        cli.run([*words, "--help"])
    assert capsys.readouterr().out == output


def test_output_works_without_unicode() -> None:
    code = "from morefromless.cli import main; main()"
    for arguments in (["ingest", "--help"], ["compare", "µ×−"]):
        process = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "LC_ALL": "C", "COLUMNS": "80"},
            capture_output=True,
            check=False,
        )
        text = (process.stdout + process.stderr).decode("ascii")
        assert "Pixel size in um" in text or "ux-" in text
        assert "Traceback" not in text


def test_shell_completion_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.run(["--tyro-print-completion", "bash"])
    assert not caught.value.code
    assert "compare" in capsys.readouterr().out


def test_status_and_report_name_the_kind_of_folder(
    trained: dict[str, Run], tissue: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run = next(iter(trained.values())).path
    assert cli.run(["status", str(run)]) == 0
    output = capsys.readouterr().out
    assert run.name in output
    assert f"Next: mfl probe {run}" in output
    assert cli.run(["status", str(run.parent)]) == 0
    assert f"{run.parent.name}\t" in capsys.readouterr().out
    assert f"mfl probe {run}" in error_of(capsys, "report", str(run))
    for command in ("status", "report"):
        assert f"mfl views {tissue.path}" in error_of(capsys, command, str(tissue.path))
    assert ".png nor .pdf" in error_of(capsys, "views", str(tissue.path), "--out", "x.tif")
    file = str(run / "run.json")
    assert "is a file; give a folder" in error_of(capsys, "represent", str(run), "--out", file)


def test_status_counts_runs_and_planned_runs(
    trained: dict[str, Run],
    tissue: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(configs: list[RunConfig], _: int) -> None:
        shutil.copytree(trained["supervised"].path, configs[0].out)
        raise TrainingError("stopped")

    monkeypatch.setattr("morefromless.runner.run_all", stop)
    monkeypatch.chdir(tmp_path)
    store = os.path.relpath(tissue.path, tmp_path)
    assert "stopped" in error_of(capsys, "compare", store, "--seeds", "1", *QUICK)
    shutil.copytree(trained["supervised"].path, "runs/a")
    planned = Path("runs/compare/planned.json")
    assert cli.run(["status"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    header, *rows = [line for line in lines if len(line) > 1]
    states = {name: dict(zip(header[1:], row, strict=True)) for name, *row in rows}
    assert sorted(states) == ["compare", "runs"]
    assert states["runs"]["done"] == states["compare"]["done"] == "1"
    assert int(states["compare"]["waiting"]) == len(json.loads(planned.read_text())) - 1 > 0
    assert cli.run(["status", "runs/compare"]) == 0
    assert capsys.readouterr().out.count("compare\t") == 1
    planned.write_text("[1]")
    assert "planned.json is damaged" in error_of(capsys, "status", "runs/compare")


def test_options_accept_an_equals_sign_and_the_home_folder(
    tissue: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    options = {"store": str(tissue.path), "out": "~/sheets/a.png", "patches": 2, "size": 16}
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(options))
    arguments = ["views", "--config=~/options.yaml", "--primary=downsample:4", "--draws=1"]
    assert cli.run(arguments) == 0
    assert (tmp_path / "sheets" / "a.png").is_file()
    assert cli.run([*arguments, "--out", "~/b.png"]) == 0
    assert (tmp_path / "b.png").is_file()
    for incomplete in (["--config"], ["--config="]):
        assert "--config needs a file" in error_of(capsys, "views", str(tissue.path), *incomplete)


def test_studies_of_the_same_name_are_listed_separately(
    trained: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained["supervised"].path
    for folder in ("a/compare", "b/compare"):
        shutil.copytree(run, tmp_path / folder / "runs" / run.name)
    assert cli.run(["status", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "a/compare" in output
    assert "b/compare" in output
    unfinished = tmp_path / "b" / "compare" / "runs" / run.name
    (unfinished / "weights.safetensors").unlink()
    assert cli.run(["status", str(tmp_path)]) == 0
    assert f"- {unfinished} begun" in capsys.readouterr().out
