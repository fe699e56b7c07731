"""Carrying out a plan: what one run does to the others, and what several processes share."""

import errno
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from morefromless.branches import build_encoder
from morefromless.comparison import execute as module
from morefromless.comparison import workers
from morefromless.comparison.disk import needed_bytes
from morefromless.comparison.execute import execute, gpus_at_hand
from morefromless.data.store import Store
from morefromless.errors import ConfigError, TrainingError
from morefromless.evaluation.evaluate import evaluate
from morefromless.objectives import Loss
from morefromless.objectives.vicreg import VICReg
from morefromless.options import PretrainOptions, ProbeOptions, SuperviseOptions
from morefromless.runs import Run
from morefromless.training.pretrain import pretrain
from morefromless.training.supervised import supervise


class Scripted(VICReg):
    """VICReg that does something else at its first step: ends as it is told, or writes down where
    it is trained, or waits for a file."""

    def __init__(self, what: str = "fine", file: Path | None = None) -> None:
        super().__init__()
        self.what, self.file, self.begun = what, file, False

    def forward(self, embeddings: Any) -> Loss:
        if len(embeddings[0]) > 2 and not self.begun:
            self.begun = True
            getattr(self, self.what)()
        return super().forward(embeddings)

    def fine(self) -> None:
        pass

    def defect(self) -> None:
        raise IndexError("index 7 is out of bounds\nfor an axis of 3")

    def memory(self) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nMore.")

    def full(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def crashed(self) -> None:
        os._exit(3)

    def tells(self) -> None:
        assert self.file is not None
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "-")
        with self.file.open("a") as file:
            file.write(f"{os.getpid()} {seen} {os.environ['MFL_BAR_POSITION']}\n")

    def waits(self) -> None:
        assert self.file is not None
        self.tells()
        while not self.file.with_suffix(".go").exists():
            time.sleep(0.01)


@dataclass(frozen=True)
class Planned:
    options: PretrainOptions | SuperviseOptions

    @property
    def run(self) -> Run:
        return Run(self.options.out)


Making = Callable[..., Planned]


@pytest.fixture
def planned(pretraining: PretrainOptions, tmp_path: Path) -> Making:
    """Runs of four steps with a `Scripted` objective, each under a name of its own."""

    def make(name: str, what: str = "fine", file: Path | None = None, **changed: Any) -> Planned:
        said = f"what={what}" + (f",file={file}" if file else "")
        objective = f"tests.comparison.test_execute:Scripted:{said}"
        options = replace(pretraining, epochs=1, objective=objective, out=tmp_path / "runs" / name)
        return Planned(replace(options, **changed))

    return make


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that need not import everything anew: these tests leave PyTorch's threads alone."""
    monkeypatch.setattr(workers, "START", "fork")


def states(plan: list[Planned]) -> list[str]:
    return [one.run.state for one in plan]


def written(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def child(work: Callable[[], object]) -> Iterator[int]:
    """A process of its own that does `work`; killed at the end, where it is not over."""
    process = os.fork()
    if not process:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    try:
        yield process
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def alive(process: int) -> bool:
    """Whether a process, ours or an orphan, is neither gone nor merely not yet buried."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.usefixtures("forked")
def test_whatever_ends_one_run_does_not_end_the_others(planned: Making, jobs: int) -> None:
    plan = [
        planned("a", "defect"),
        planned("b", "full"),
        planned("c", "memory"),
        planned("d", width=48),
        planned("e", encoder="no_such_net"),
        planned("f"),
    ]
    with pytest.raises(TrainingError, match=r"^4 of 6 runs failed \(.* and 1 more\)") as caught:
        execute(plan, jobs)
    assert "the first because: " in str(caught.value)
    assert "run the command again to go on" in str(caught.value)
    assert states(plan) == ["failed"] * 3 + ["done", "failed", "done"]
    a, b, c, _, e, _ = (str(one.run.failure) for one in plan)
    assert a == "IndexError: index 7 is out of bounds"
    assert "the disk is full; free some space" in b
    assert c == "OutOfMemoryError: CUDA out of memory. Tried to allocate 20 GiB."
    assert "no model named 'no_such_net'" in e
    assert "in defect" in (plan[0].run.path / "failed.txt").read_text()
    assert not (plan[1].run.path / "failed.txt").exists()


@pytest.mark.usefixtures("forked")
def test_a_process_that_dies_takes_its_run_alone(planned: Making) -> None:
    plan = [
        planned("a", "killed"),
        planned("b"),
        planned("c", "crashed"),
        planned("d", "killed"),
        planned("e"),
    ]
    with pytest.raises(TrainingError, match=r"^3 of 5 runs failed"):
        execute(plan, 2)
    assert states(plan) == ["failed", "done", "failed", "failed", "done"]
    assert plan[0].run.failure == "Its process was ended by SIGKILL, perhaps as memory ran out."
    assert plan[2].run.failure == "Its process ended by itself, with exit code 3."


def test_a_run_that_several_tables_want_is_trained_once(planned: Making, tmp_path: Path) -> None:
    file = tmp_path / "told"
    execute([planned("a", "tells", file)] * 3, 1)
    assert len(written(file)) == 1
    execute([planned("a", "tells", file)], 1)
    assert len(written(file)) == 1


def test_a_run_that_failed_is_tried_again_and_one_half_deleted_is_told(planned: Making) -> None:
    whole, half = planned("a"), planned("b")
    whole.run.fail("What went wrong before.")
    execute([half], 1)
    half.run.record_path.unlink()
    with pytest.raises(TrainingError, match=r"1 of 2 runs failed \(b\).* lost its run\.json"):
        execute([half, whole], 1)
    assert states([whole, half]) == ["done", "failed"]
    assert half.run.weights_path.exists()


def test_each_worker_has_a_gpu_of_its_own_from_its_beginning(
    planned: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "gpus_at_hand", lambda: ["3", "GPU-5"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    file = tmp_path / "told"
    plan = [planned(str(seed), "tells", file, seed=seed, device="auto") for seed in range(3)]
    execute(plan)  # as many side by side as there are GPUs
    assert states(plan) == ["done"] * 3
    told = written(file)
    assert len(told) == 3
    assert {(seen, line) for _, seen, line in told} == {("3", "1"), ("GPU-5", "2")}
    assert len({process for process, *_ in told}) == 2
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.usefixtures("forked")
def test_on_one_gpu_runs_have_a_process_of_their_own(
    planned: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "gpus_at_hand", lambda: ["0"])
    file = tmp_path / "told"
    plan = [planned("a", "killed", device="auto"), planned("b", "tells", file, device="auto")]
    with pytest.raises(TrainingError, match=r"^1 of 2"):
        execute(plan)
    assert written(file)[0][0] != str(os.getpid())
    on_cpu = planned("c", "tells", file)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    execute([on_cpu])
    assert written(file)[1][0] == str(os.getpid())


@pytest.mark.parametrize(
    ("named", "found"),
    [(None, ["0", "1"]), ("4,6", ["4", "6"]), ("GPU-a,GPU-b,-1,2", ["GPU-a", "GPU-b"])],
)
def test_gpus_go_by_the_names_that_they_were_given(
    named: str | None, found: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert gpus_at_hand() == found
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpus_at_hand() == []


@pytest.mark.usefixtures("forked")
def test_two_plans_of_one_folder_share_the_work(
    planned: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL", 0.05)
    file = tmp_path / "told"
    plan = [planned(str(seed), "tells", file, seed=seed) for seed in range(5)]
    over = tmp_path / "over"

    def other() -> None:
        execute(plan, 2)
        over.touch()

    with child(other):
        execute(plan, 1)
        assert states(plan) == ["done"] * 5
        until(over.exists)
    assert len(written(file)) == 5  # each was trained once


def test_a_run_that_another_process_trains_is_waited_for(
    planned: Making,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "told"
    go = file.with_suffix(".go")
    theirs, ours = planned("a", "waits", file), planned("b")

    def sleep(_: float) -> None:
        """Theirs goes on only once it is waited for."""
        assert ours.run.done
        go.touch()
        time.sleep(0.05)

    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep))
    with child(lambda: pretrain(theirs.options)) as other:  # type: ignore[arg-type]
        until(lambda: theirs.run.state == "running" and written(file))
        execute([theirs, ours], 1)
        assert go.exists()
        assert theirs.run.done
        assert [line[0] for line in written(file)] == [str(other)]
    assert "1 trained by another process" in capsys.readouterr().err


def test_a_run_that_another_process_gives_up_is_taken_on(
    planned: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL", 0.05)
    file = tmp_path / "told"
    one = planned("a", "waits", file)
    with child(lambda: pretrain(one.options)) as other:  # type: ignore[arg-type]
        until(lambda: one.run.state == "running" and written(file))

        def kill() -> None:
            file.with_suffix(".go").touch()
            os.kill(other, signal.SIGKILL)

        os.kill(other, signal.SIGSTOP)
        threading.Timer(0.5, kill).start()
        execute([one], 1)
    assert one.run.done
    assert [line[0] for line in written(file)] == [str(other), str(os.getpid())]


def test_a_run_that_fails_elsewhere_is_not_tried_once_more(
    planned: Making, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL", 0.05)
    one = planned("a")
    Run.begin("pretrain", one.options, "hash", frozenset())
    begun = tmp_path / "begun"

    def fail() -> None:
        with one.run.training():
            begun.touch()
            time.sleep(0.5)
            raise TrainingError("The loss is not finite.")

    with child(fail):
        until(begun.exists)
        with pytest.raises(TrainingError, match=r"1 of 1 .* because: The loss is not finite\. The"):
            execute([one], 1)


@pytest.mark.usefixtures("forked")
def test_an_interrupt_ends_all_workers_at_once(planned: Making, tmp_path: Path) -> None:
    file = tmp_path / "told"
    plan = [planned(str(seed), "waits", file, seed=seed) for seed in range(3)]

    def interrupt() -> None:
        until(lambda: len(written(file)) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        execute(plan, 2)
    assert not any(alive(int(line[0])) for line in written(file))
    assert states(plan) == ["begun", "begun", "waiting"]
    file.with_suffix(".go").touch()
    execute(plan, 2)
    assert states(plan) == ["done"] * 3


@pytest.mark.usefixtures("forked")
def test_workers_die_with_who_started_them(planned: Making, tmp_path: Path) -> None:
    file = tmp_path / "told"
    plan = [planned(str(seed), "waits", file, seed=seed) for seed in range(2)]
    with child(lambda: execute(plan, 2)):
        until(lambda: len(written(file)) == 2)
        assert states(plan) == ["running"] * 2
    until(lambda: not any(alive(int(line[0])) for line in written(file)), seconds=10)
    until(lambda: states(plan) == ["begun"] * 2, seconds=10)


def test_what_will_be_written_is_known_before(
    pretraining: PretrainOptions,
    supervision: SuperviseOptions,
    tissue: Store,
    tmp_path: Path,
    planned: Making,
) -> None:
    one = Planned(replace(pretraining, epochs=1, out=tmp_path / "pretrained"))
    other = Planned(replace(supervision, epochs=1, out=tmp_path / "supervised"))
    plan = [one, other]
    assert needed_bytes([planned("none", encoder="no_such_net")], 1) == 0
    before = needed_bytes(plan, 0)
    with_checkpoints = needed_bytes(plan, 1) - before
    pretrain(one.options)  # type: ignore[arg-type]
    supervise(other.options)  # type: ignore[arg-type]
    features = 0
    for made in plan:
        evaluate(made.run, tissue, ProbeOptions(probe_epochs=1))
        files = made.run.path.glob("features/*.npy")
        features += sum(np.load(path).nbytes for path in files)
    # A supervised encoder answers with its own head, and needs no features of the training patches.
    width = np.load(other.run.path / "features" / "primary-test.npy").shape[1]
    features += 4 * width * len(tissue.indices("train"))
    weights = sum(made.run.weights_path.stat().st_size for made in plan)
    assert before == pytest.approx(weights + features, rel=0.01)

    # Two checkpoints of weights and two moments: the last is kept until the next is written.
    stopped = planned("stopped", "fine", epochs=2, checkpoint_every=4, objective="vicreg")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "finish", lambda *_: None)
        pretrain(stopped.options)  # type: ignore[arg-type]
    size = stopped.run.checkpoint.stat().st_size
    assert with_checkpoints == pytest.approx(2 * size, rel=0.03)
    assert needed_bytes([stopped], 1) - needed_bytes([stopped], 0) == with_checkpoints // 2
    assert needed_bytes(plan, 1) == needed_bytes([other], 1) > 0  # features that nobody made yet


def test_a_plan_for_which_the_disk_has_no_room_is_not_begun(
    planned: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = [planned("a"), planned("b", width=48)]
    usage = shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        ConfigError, match=r"need up to 0\.0\d GB, and the disk of .*runs has 0\.00"
    ):
        execute(plan, 1)
    assert not plan[0].run.path.parent.exists()
    monkeypatch.undo()
    execute(plan, 1)


@pytest.mark.parametrize("encoder", ["resnet50", "keras-v1", "vit_small_patch16_224"])
def test_sizes_cost_no_memory(planned: Making, encoder: str) -> None:
    """Two branches of ResNet-50 with expanders of 8192: 3.7 GB of checkpoint."""
    one = planned("a", encoder=encoder, width=8192, size=224)
    began = time.monotonic()
    needed = needed_bytes([one], 1) - needed_bytes([one], 0)
    assert time.monotonic() - began < 20
    inputs = 384 if encoder.startswith("vit") else 2048
    expander = inputs * 8192 + 2 * 8192**2 + 3 * 8192 + 4 * 8192
    # Keras counts 23,587,712 and timm 25,557,032 - 2,049,000 for ResNet-50, 22,050,664 - 385,000
    # for ViT-S/16; running means and variances are not Adam's.
    encoders = {"keras-v1": 23_534_592, "resnet50": 23_508_032, "vit_small_patch16_224": 21_665_664}
    parameters = 2 * (encoders[encoder] + expander)
    assert needed == pytest.approx(2 * 3 * 4 * parameters, rel=0.002)


def test_each_way_to_train_is_counted(planned: Making, tissue: Store) -> None:
    def counted(**changed: Any) -> int:
        return needed_bytes([planned("none", **changed)], 1)

    encoder = build_encoder("test_resnet")
    patches = len(tissue.indices("train")) + len(tissue.indices("test"))
    features = 2 * 4 * encoder.width * patches
    two = counted()
    assert counted(arm="symmetric") == two - features / 2  # its two branches have one name
    assert counted(sharing="shared") - features == (two - features) / 2
    assert counted(arm="trident") == two  # its third view has no weights, and is not evaluated
    frozen = counted(freeze=("privileged",), privileged_encoder="test_resnet:weights=none")
    # Adam has no moments of what is not trained, in neither of two checkpoints.
    assert two - frozen == 2 * 2 * 4 * sum(p.numel() for p in encoder.parameters())
