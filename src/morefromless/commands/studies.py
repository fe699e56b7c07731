"""Commands that train encoders, compare them and report on them."""

import shlex
from itertools import chain

from morefromless.config import (
    DemoConfig,
    ExplainConfig,
    HeadroomConfig,
    Pairing,
    ProbeConfig,
    ReportConfig,
    RepresentConfig,
    ReproduceConfig,
    RunConfig,
    StatusConfig,
    StudyConfig,
    ValidateConfig,
)
from morefromless.errors import ConfigError
from morefromless.progress import Bar
from morefromless.report.folders import check_out
from morefromless.report.terminal import say, shell_quote, show_written


def compare(config: StudyConfig) -> None:
    """Train and evaluate every arm, and write the tables and the figures."""
    with Bar(desc="check", bar_format="{desc}: options and store"):  # importing takes seconds
        from morefromless.report import tables
        from morefromless.report.planning import show_plan
        from morefromless.report.replacing import replacement_note
        from morefromless.report.study import write_study
        from morefromless.runner import run_all, save_planned
        from morefromless.study import Study

        check_out(config.out)
        _check_teacher(config.pairing, bool(config.distillation), "--distillation")
        study = Study.of(config)
    if config.planning.plan:
        show_plan(study.runs, study.store, config.planning, config.out)
        return
    if difference := replacement_note(study.config, study.store.hash):
        say(f"- {difference}")
    save_planned(study.runs, config.out)
    run_all(study.runs, config.jobs)
    results = study.evaluate()
    written = write_study(results, config.out)
    tables.report(results).show()
    say()
    show_written(written)
    page = shell_quote(config.out / "report.html")
    say(f"Next: open {page}, or mfl represent {shell_quote(config.out)}")


def _check_teacher(pairing: Pairing, students: bool, remedy: str) -> None:
    """Raise `ConfigError` for a teacher without students. Existing studies and runs of earlier
    versions may have one, without effect, and can still be read."""
    for option in ("teacher", "teacher_size"):
        if getattr(pairing, option) and not students:
            raise ConfigError(
                f"--{option.replace('_', '-')} is for students; give {remedy} too, or remove it."
            )


def train(config: RunConfig) -> None:
    """Train one arm with one seed."""
    from pytorch_lightning.utilities import rank_zero_only

    from morefromless.data.store import Store
    from morefromless.training.train import train

    if not (config.out / "run.json").is_file():  # an interrupted run resumes
        students = config.arm.kind == "distillation"
        _check_teacher(config.pairing, students, "--kind distillation")
    path = train(config).path
    needs_labels = Store.open(config.store).unlabelled and not config.arm.supervised
    labelled = " --store LABELLED" if needs_labels else ""
    # With several devices, every process executes this line.
    rank_zero_only(say)(
        f"Trained; the weights are in {path}.\nNext: mfl probe {shell_quote(path)}{labelled}"
    )


def probe(config: ProbeConfig) -> None:
    """Evaluate a finished run and print the results of each branch."""
    from morefromless.devices import resolve_device
    from morefromless.evaluation.calibration import calibrate
    from morefromless.evaluation.evaluate import evaluate, open_store
    from morefromless.inference.inputs import open_inputs, remarks
    from morefromless.questions import build_question, evaluate_questions
    from morefromless.report.answers import reply_section, show_scores
    from morefromless.runs import Run

    run = Run.open(config.run, config.trust)
    store = open_store(run, config.store)
    device = resolve_device(config.device)
    # Check the questions before anything is computed.
    questions = [build_question(spec) for spec in config.questions]
    task, is_training_store = (
        config.task or run.config.arm.task,
        run.record.store_hash == store.hash,
    )
    skipped = bool(questions) and is_training_store and store.unlabelled and task == "tissue"
    # Some questions need no classes, such as the expression of genes.
    answers = []
    if not skipped:
        answers = evaluate(run, store, config.probe, device, task=config.task, label="features of")
    if not is_training_store:  # the run's own store has no classes
        encoders = [answer.frozen for answer in answers]
        remark_lists = (
            remarks(open_inputs([str(store.path)], frozen), frozen) for frozen in encoders
        )
        for remark in dict.fromkeys(chain.from_iterable(remark_lists)):
            say(f"- {remark}")
        say(
            f"- {config.run} was trained on unlabelled patches. It is not checked whether they "
            f"include test patches of {store.path}; if so, these results are too good."
        )
    if config.probe.probe == "softmax":  # so that mfl predict and export need no store
        for answer in answers:
            seed = run.config.seed
            calibrate(answer.frozen, store, config.probe, answer.task, seed=seed, device=device)
    if answers:
        show_scores(answers)
    for reply in evaluate_questions(run, store, questions, config.probe, task, device):
        reply_section(reply).show()


def validate(config: ValidateConfig) -> None:
    """Evaluate the encoders of a study on another cohort, and write both results side by side."""
    from morefromless.analysis.validate import validate
    from morefromless.report import validation

    check_out(config.out)
    result = validate(config)
    written = validation.write(result)
    validation.report(result).show()
    say()
    show_written(written)


def explain(config: ExplainConfig) -> None:
    """Compare two runs with each other, and write the page."""
    from morefromless.analysis.explain import explain
    from morefromless.report import disagreements

    check_out(config.out)
    result = explain(config)
    *_, page = disagreements.write(result)
    for line in result.summary_lines():
        say(line)
    say(f"Open {page} in a browser; its figures are in the same folder.")


def represent(config: RepresentConfig) -> None:
    """Compare what the arms of a study represent, and write a table and figures."""
    from morefromless.analysis.represent import represent
    from morefromless.report import similarities

    check_out(config.out)
    result = represent(config)
    written = similarities.write(result)
    similarities.report(result).show()
    say()
    show_written(written)
    say(f"Read {result.out / 'representations.md'}; its figures are in the same folder.")


def headroom(config: HeadroomConfig) -> None:
    """Estimate what a privileged view could add, without training."""
    from morefromless.analysis.headroom import measure_headroom
    from morefromless.commands.next_step import pair_options
    from morefromless.report import headroom

    check_out(config.out)
    result = measure_headroom(config)
    headroom.report(result).show()
    say()
    show_written(headroom.write(result))
    options = ["--primary", config.primary, "--privileged", config.privileged]
    options += chain.from_iterable(pair_options(config.primary, config.privileged))
    options += ["--tasks", config.task] if config.task != "tissue" else []
    say(f"Next: mfl compare {shell_quote(config.store)} {shlex.join(options)}")


def reproduce(config: ReproduceConfig) -> None:
    """Reproduce experiments of the paper, or print the required resources."""
    from morefromless.reproduction import reproduce

    check_out(config.out)
    reproduce(config)


def status(config: StatusConfig) -> None:
    """Print the state of the runs in a folder."""
    from morefromless.report.status import show_status

    show_status(config.out)


def report(config: ReportConfig) -> None:
    """Write the report of a reproduction or a study."""
    from morefromless.report.report import write_report

    *_, markdown, page = write_report(config.out)
    say(f"Open {page} in a browser; {markdown} has the same content in Markdown.")


def demo(config: DemoConfig) -> None:
    """Run the two controls on synthetic tissue."""
    from morefromless.demo import demo

    check_out(config.out)
    demo(config)
