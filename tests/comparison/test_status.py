"""How far a plan is, from what lies in its folders."""

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import torch

from morefromless.comparison.plan import plan
from morefromless.comparison.status import counts, status
from morefromless.options import INCIDENTAL, CompareOptions
from morefromless.runs import Run


def test_every_run_is_in_one_state_and_says_what_is_to_be_said(comparison: CompareOptions) -> None:
    planned = plan(replace(comparison, seeds=1), "hash")
    assert counts(status(one.run for one in planned)) == {"waiting": 5}
    assert not comparison.out.exists()  # to look changes nothing
    done, running, failed, begun, waiting = (one.run for one in planned)
    for one in planned[:4]:
        Run.begin("pretrain", one.options, "hash", INCIDENTAL)
    done.finish({"weight": torch.ones(1)}, {"seconds": 1.0})
    done.fail("What went wrong before it was done.")
    failed.fail("The loss is not finite; lower the learning rate.")
    waiting.path.mkdir()
    (waiting.path / "submitted.json").write_text(
        json.dumps({"job": "123", "kind": "slurm", "host": "login"})
    )
    with running.training():
        rows = status(one.run for one in [*planned, *planned])  # several tables want them
    assert [(row.folder, row.name) for row in rows] == [
        (one.run.path, one.run.path.name) for one in planned
    ]
    assert [row.state for row in rows] == ["done", "running", "failed", "begun", "waiting"]
    assert rows[1].said.startswith(f"process {os.getpid()} on {socket.gethostname()} since ")
    assert [row.said for row in rows if row.state != "running"] == [
        "",
        "The loss is not finite; lower the learning rate.",
        "",
        "job 123",
    ]
    assert counts(rows) == dict.fromkeys(("done", "running", "failed", "begun", "waiting"), 1)
    assert begun.state == "begun"


def test_a_store_that_moved_or_a_run_without_record_is_no_matter(tmp_path: Path) -> None:
    options = CompareOptions(store=Path("nowhere"), out=tmp_path, seeds=1, sharing=("shared",))
    planned = plan(options, "hash")
    half = planned[0].run
    half.path.mkdir(parents=True)
    half.weights_path.touch()
    assert counts(status(one.run for one in planned)) == {"waiting": 3}
