"""What each command does, once its options are known. The machinery is imported when needed."""

import os
from pathlib import Path

from rich.console import Console

from morefromless.options import (
    CompareOptions,
    DemoOptions,
    ExplainOptions,
    ExportOptions,
    IngestOptions,
    PretrainOptions,
    ProbeRunOptions,
    ReportOptions,
    RepresentOptions,
    ReproduceOptions,
    SegmentOptions,
    StatusOptions,
    SuperviseOptions,
    TransferOptions,
    ViewsOptions,
)


def ingest(options: IngestOptions) -> None:
    """Decode a source into a store; the last line says what was kept and what was set aside."""
    from morefromless.ingest import ingest, open_source

    source = open_source(
        options.source,
        options.group,
        unlabelled=options.unlabelled,
        nuclei=options.nuclei,
        nuclei_format=options.nuclei_format,
        scheme=options.scheme,
        cut=options.cut,
    )
    report = ingest(
        source,
        options.store,
        split=options.split,
        test_share=options.test_share,
        seed=options.seed,
        size=options.size,
        resize=options.resize,
        workers=options.workers or os.cpu_count() or 1,
        strict=options.strict,
        missing=options.missing,
        um_per_px=options.um_per_px,
    )
    for caveat in [*report.caveats, *source.notes()]:
        print(f"- {caveat}")
    print(report)


def views(options: ViewsOptions) -> None:
    """Write a contact sheet."""
    from morefromless.report.sheet import write_sheet

    print(f"Wrote {write_sheet(options)}: look at it before you train.")


def segment(options: SegmentOptions) -> None:
    """Segment the nuclei of every patch."""
    import torch

    from morefromless.hovernet.network import LICENCE, Hovernet
    from morefromless.hovernet.segment import segment
    from morefromless.ingest.opening import open_images

    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    report = segment(
        open_images(options.source),
        options.out,
        lambda: Hovernet(options.weights, device),
        um_per_px=options.um_per_px,
        at=options.at,
        batch=options.batch or (16 if device == "cuda" else 1),
    )
    print(f"- The weights' licence holds for what they made: {LICENCE}.")
    print(f"{report}. Take them with: mfl ingest {options.source} STORE --nuclei {options.out}")


def export(options: ExportOptions) -> None:
    """Write a store's nuclei as GeoJSON."""
    from morefromless.data.store import Store
    from morefromless.exporting import export_geojson

    count = export_geojson(Store.open(options.store), options.out)
    print(f"Wrote the nuclei of {count:,} patches to {options.out}.")


def pretrain(options: PretrainOptions) -> None:
    """Train one self-supervised arm."""
    from morefromless.training.pretrain import pretrain

    _trained(pretrain(options).path)


def supervise(options: SuperviseOptions) -> None:
    """Train the supervised arm."""
    from morefromless.training.supervised import supervise

    _trained(supervise(options).path)


def _trained(path: Path) -> None:
    from pytorch_lightning.utilities import rank_zero_only

    # Every process of several devices comes by here.
    rank_zero_only(print)(f"Trained; the weights are in {path}. Evaluate them: mfl probe {path}")


def probe(options: ProbeRunOptions) -> None:
    """Evaluate a finished run and print what each branch reached."""
    import torch

    from morefromless.data.store import Store
    from morefromless.evaluation.evaluate import evaluate
    from morefromless.labelling import labelled
    from morefromless.report.table import show_results
    from morefromless.runs import Run

    run = Run.open(options.run)
    store = Store.open(options.store or Path(run.options["store"]))
    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    task = options.task or str(run.options.get("task", "tissue"))
    results = evaluate(run, store, options, device, task=task, progress=True)
    show_results(results, labelled(store, task), Console())


def compare(options: CompareOptions) -> None:
    """Train and evaluate every arm, and write the table and the figures."""
    from morefromless.comparison.compare import compare
    from morefromless.report.figures import write_figures
    from morefromless.report.table import report

    comparison = compare(options)
    made = report(comparison)
    written = [
        *made.write(options.out, "comparison"),
        *write_figures(comparison, options.out),
    ]
    made.show(Console())
    print("\nWrote " + ", ".join(str(path) for path in written))


def transfer(options: TransferOptions) -> None:
    """Train and ask every encoder of Table 2, and write the table."""
    from morefromless.comparison.transfer import transfer
    from morefromless.report.transfer import report
    from morefromless.report.transfer_figure import write_figure

    found = transfer(options)
    made = report(found)
    written = [*made.write(options.out, "transfer"), *write_figure(found, options.out)]
    made.show(Console())
    print("\nWrote " + ", ".join(str(path) for path in written))


def explain(options: ExplainOptions) -> None:
    """Hold two runs against each other, and write the page."""
    from morefromless.analysis.explain import explain
    from morefromless.report.explained import write_explained

    found = explain(options)
    *_, page = write_explained(found)
    told = found.explanation
    right = [int((told.predictions[side] == told.labels).sum()) for side in (0, 1)]
    apart = int((told.predictions[0] != told.predictions[1]).sum())
    for title, count in zip(told.titles, right, strict=True):
        print(f"{title}: {count:,} of {len(told.ids):,} test patches right")
    print(f"They disagree on {apart:,}. Open {page} in a browser; its figures lie beside it.")


def represent(options: RepresentOptions) -> None:
    """Compare what the arms of a comparison represent, and write table and figures."""
    from morefromless.comparison.represent import represent
    from morefromless.report.represented import report, write_figures

    found = represent(options)
    made = report(found)
    written = [*made.write(found.out, "representations"), *write_figures(found)]
    made.show(Console())
    print("\nWrote " + ", ".join(str(path) for path in written))


def reproduce(options: ReproduceOptions) -> None:
    """Carry out experiments of the paper, or say what that would take."""
    from morefromless.report.reproduction import write_report
    from morefromless.reproduction.carry_out import carry_out, submit
    from morefromless.reproduction.plan import plan
    from morefromless.reproduction.showing import show_plan

    console = Console()
    made = plan(options)
    show_plan(made, console)
    if options.plan:
        return
    made.save()
    try:
        submit(made, console) if options.cluster != "none" else carry_out(made, console)
    finally:  # where runs failed, of the others
        if any(options.out.glob("experiments/*.json")):
            console.print("Wrote " + ", ".join(map(str, write_report(options.out))))


def status(options: StatusOptions) -> None:
    """Say how far the runs of a folder are."""
    from morefromless.reproduction.showing import show_status

    show_status(options.out, Console())


def report(options: ReportOptions) -> None:
    """Write the report of a reproduction."""
    from morefromless.report.reproduction import write_report

    *_, markdown, page = write_report(options.out)
    print(f"Open {page} in a browser; {markdown} says the same in Markdown.")


def demo(options: DemoOptions) -> None:
    """The two controls on synthetic tissue."""
    from morefromless.demo import demo

    demo(options, Console())
