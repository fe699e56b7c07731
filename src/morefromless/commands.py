"""What each command does, once its options are known. The machinery is imported when needed."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from morefromless.config import (
    AppConfig,
    DemoConfig,
    EmbedConfig,
    ExplainConfig,
    ExportConfig,
    ExportNucleiConfig,
    FetchConfig,
    HeadroomConfig,
    HoldOutConfig,
    IngestConfig,
    PredictConfig,
    ProbeConfig,
    ReportConfig,
    RepresentConfig,
    ReproduceConfig,
    RunConfig,
    SegmentConfig,
    StatusConfig,
    StudyConfig,
    TileConfig,
    ValidateConfig,
    ViewsConfig,
)
from morefromless.progress import Bar
from morefromless.report.folders import check_out
from morefromless.report.terminal import say, wrote

if TYPE_CHECKING:
    from morefromless.evaluation.frozen import FrozenEncoder
    from morefromless.inference.embed import Embedding
    from morefromless.inference.inputs import Patches


def ingest(options: IngestConfig) -> None:
    """Decode a source into a store; the last line says what was accepted and what was rejected."""
    from morefromless.ingest import ingest, open_source

    source = open_source(
        options.source,
        label=options.label,
        group=options.group,
        classes=options.classes,
        drop=options.drop,
        unlabelled=options.unlabelled,
        nuclei=options.nuclei,
        nuclei_format=options.nuclei_format,
        scheme=options.scheme,
        cut=options.cut,
    )
    if options.normalise_stain:
        from morefromless.ingest.staining import StainNormalised

        source = StainNormalised(source)
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
    for note in report.notes:
        say(f"- {note}")
    say(str(report))
    after = f"mfl compare {options.store}"
    if options.split == "test":
        after = f"mfl validate STUDY {options.store}"
    elif options.unlabelled and options.nuclei is None:
        after = f"mfl train {options.store} --out RUN"
    say(f"Next: mfl views {options.store}, then {after}")


def tile(options: TileConfig) -> None:
    """Cut slides into a store of tiles."""
    from morefromless.ingest import ingest
    from morefromless.ingest.labelling import Relabelled
    from morefromless.ingest.staining import StainNormalised
    from morefromless.ingest.tiling import FOLDER, Tiles
    from morefromless.sources import Source

    source: Source = Relabelled(
        Tiles(options), options.label, options.group, options.classes, options.drop
    )
    if options.normalise_stain:
        source = StainNormalised(source, ("he", "low-power", "context"))
    report = ingest(
        source,
        options.store,
        split=options.split,
        test_share=options.test_share,
        seed=options.seed,
        workers=options.workers or None,
        strict=options.strict,
    )
    for note in report.notes:
        say(f"- {note}")
    say(str(report))
    say(f"Look at the tissue that was found before you train: {options.store / FOLDER}/*.png")


def hold_out(options: HoldOutConfig) -> None:
    """Write a store of the training patches alone, part of which stand in test."""
    from morefromless.data.store import Store
    from morefromless.evaluation.hold_out import write_hold_out_store

    store = write_hold_out_store(
        Store.open(options.store),
        options.out,
        share=options.share,
        clusters=options.clusters,
        seed=options.seed,
    )
    train, test = (len(store.indices(split)) for split in ("train", "test"))
    say(f"{options.out} has {train:,} patches to train and {test:,} to choose settings by.")


def fetch(options: FetchConfig) -> None:
    """List public data sets, show the datasheet of one, or fetch its files."""
    from morefromless.catalogue import names, public_set
    from morefromless.catalogue.download import fetch
    from morefromless.errors import ConfigError

    if not options.name:
        for name in names():
            say(f"{name}: {public_set(name).what}")
        say("Next: mfl fetch NAME, or mfl fetch NAME FOLDER")
        return
    sheet = public_set(options.name)
    say(f"{sheet.title}: {sheet.what}")
    say(f"Of {sheet.whose}. Licence: {sheet.licence}. Cite {sheet.citation}.")
    for pitfall in sheet.pitfalls:
        say(f"- {pitfall}")
    if not options.folder:
        for file in sheet.files:
            size = f", {file.bytes:,} bytes" if file.bytes else ""
            say(f"{file.name}: {file.url}{size}, md5 {file.md5 or 'not known'}")
        say(sheet.by_hand or f"Next: mfl fetch {options.name} FOLDER")
        return
    if sheet.files and not sheet.commercial and not options.accept_licence:
        raise ConfigError(
            f"{sheet.licence} forbids commercial use; give --accept-licence if you agree to it."
        )
    wrote(fetch(sheet, Path(options.folder), local=options.local, mirror=options.mirror))
    say(f"Next: mfl ingest {options.name}:{options.folder} STORE")


def views(options: ViewsConfig) -> None:
    """Write a contact sheet."""
    from morefromless.report.sheet import write_sheet

    say(f"Wrote {write_sheet(options)}: look at it before you train.")


def segment(options: SegmentConfig) -> None:
    """Segment the nuclei of every patch."""
    from morefromless.devices import resolve_device
    from morefromless.hovernet.network import LICENCE, Hovernet
    from morefromless.hovernet.segment import segment
    from morefromless.ingest.opening import open_images

    device = resolve_device(options.device)
    report = segment(
        open_images(options.source),
        options.out,
        lambda: Hovernet(options.weights, device),
        um_per_px=options.um_per_px,
        at=options.at,
        batch=options.batch or (16 if device == "cuda" else 1),
    )
    say(f"- The weights' licence holds for what they made: {LICENCE}.")
    say(f"{report}. Take them with: mfl ingest {options.source} STORE --nuclei {options.out}")


def export_nuclei(options: ExportNucleiConfig) -> None:
    """Write a store's nuclei as GeoJSON."""
    from morefromless.data.store import Store
    from morefromless.nuclei_export import export_geojson
    from morefromless.report.nuclei_legend import write_legend

    store = Store.open(options.store)
    count = export_geojson(store, options.out)
    legend = write_legend(store, options.out)
    say(f"Wrote the nuclei of {count:,} images to {options.out}; {legend} has their colours.")


def train(config: RunConfig) -> None:
    """Train one arm with one seed."""
    from pytorch_lightning.utilities import rank_zero_only

    from morefromless.training.train import train

    path = train(config).path
    # Every process of several devices comes by here.
    rank_zero_only(say)(f"Trained; the weights are in {path}. Evaluate them: mfl probe {path}")


def probe(config: ProbeConfig) -> None:
    """Evaluate a finished run and print what each branch reached."""
    from morefromless.devices import resolve_device
    from morefromless.evaluation.calibration import calibrate
    from morefromless.evaluation.evaluate import evaluate, open_store
    from morefromless.questions import ask
    from morefromless.report.answers import reply_section, show_answers
    from morefromless.runs import Run

    run = Run.open(config.run, config.trust)
    store = open_store(run, config.store)
    device = resolve_device(config.device)
    answers = evaluate(run, store, config.probe, device, task=config.task, label="features of")
    if config.probe.probe == "softmax":  # for mfl predict and mfl export, which need no store then
        for answer in answers:
            seed = run.config.seed
            calibrate(answer.frozen, store, config.probe, answer.task, seed=seed, device=device)
    show_answers(answers)
    task = config.task or run.config.arm.task
    for reply in ask(run, store, config.questions, config.probe, task, device):
        reply_section(reply).show()


def compare(config: StudyConfig) -> None:
    """Train and evaluate every arm, and write the tables and the figures."""
    with Bar(desc="check", bar_format="{desc}: options and store"):  # importing takes seconds
        from morefromless.report import tables
        from morefromless.report.study import write_study
        from morefromless.runner import run_all
        from morefromless.study import Study

        check_out(config.out)
        study = Study.of(config)
    run_all(study.runs, config.jobs)
    results = study.evaluate()
    written = write_study(results, config.out)
    tables.report(results).show()
    say()
    wrote(written)
    say(f"Next: open {config.out}/report.html, or mfl represent {config.out}")


def embed(config: EmbedConfig) -> None:
    """Write an encoder's features of any patches."""
    from morefromless.inference.embed import partial_folder
    from morefromless.inference.writers import write_embedding, writer

    writer(config.to)  # which refuses an ending before anything is computed
    frozen, inputs = _opened(config)
    with partial_folder(config.to) as partial:
        embedding = _embedded(config, frozen, inputs, partial)
        write_embedding(embedding, config.to)
    count, width = embedding.features.shape
    say(f"Wrote {config.to}: {count:,} patches x {width} features.")


def predict(config: PredictConfig) -> None:
    """Write the classes of any patches, and heat maps of slides."""
    from morefromless.devices import resolve_device
    from morefromless.inference.embed import partial_folder
    from morefromless.inference.inputs import SlidePatches
    from morefromless.inference.maps import write_maps
    from morefromless.inference.predict import (
        check_ending,
        find_probe,
        predict,
        write_predictions,
    )

    check_ending(config.to)
    frozen, inputs = _opened(config)
    device = resolve_device(config.reading.device)
    probe = find_probe(frozen, Path(config.encoder), config.store, config.task, device)
    with partial_folder(config.to) as partial:
        predictions = predict(_embedded(config, frozen, inputs, partial), probe, config.abstain)
        write_predictions(predictions, config.to)
    if config.abstain:
        coverage, accuracy = probe.selective(config.abstain)
        answered = (predictions["class"] != "").mean()
        say(
            f"- From a probability of {config.abstain:g} on, {coverage:.0%} of the held-out "
            f"training patches have a class, and {accuracy:.1%} of those the right one; of these "
            f"inputs {answered:.0%} have one."
        )
    unlike = (predictions["outlier_percentile"] >= 99).mean()
    say(f"- {unlike:.0%} lie farther from the training patches than 99 % of the held-out ones.")
    for patches in inputs:
        if config.maps and isinstance(patches, SlidePatches):
            say(f"- Wrote {', '.join(map(str, write_maps(patches, predictions, config.maps)))}.")
    say(f"Wrote {config.to}: {len(predictions):,} patches, {len(probe.classes)} classes.")


def _opened(config: EmbedConfig | PredictConfig) -> "tuple[FrozenEncoder, list[Patches]]":
    """The encoder and its inputs; what cannot be checked of them is printed."""
    from morefromless.evaluation.loading import load_encoder
    from morefromless.inference.inputs import open_inputs, remarks

    reading = config.reading
    frozen = load_encoder(config.encoder, reading.branch, trust=reading.trust)
    inputs = open_inputs(config.inputs, frozen, reading.um_per_px, reading.at)
    for remark in remarks(inputs, frozen):
        say(f"- {remark}")
    return frozen, inputs


def _embedded(
    config: EmbedConfig | PredictConfig,
    frozen: "FrozenEncoder",
    inputs: "list[Patches]",
    partial: Path,
) -> "Embedding":
    """The features of inputs; patches that cannot be read are printed by their reason."""
    from morefromless.devices import resolve_device
    from morefromless.inference.embed import embed

    device = resolve_device(config.reading.device)
    embedding = embed(frozen, inputs, device, partial=partial)
    for reason, count in embedding.rejected.most_common():
        say(f"- {count:,} rejected: {reason}")
    return embedding


def app(config: AppConfig) -> None:
    """Serve the page until interrupted."""
    from morefromless.app import open_server

    server = open_server(config)
    say(f"Open http://{server.host}:{server.port}/ in a browser; Ctrl-C ends it.")
    server.serve_forever()


def export(config: ExportConfig) -> None:
    """Write an encoder for other tools."""
    from morefromless.evaluation.loading import load_encoder
    from morefromless.inference.export import export
    from morefromless.report.model_card import write_card

    frozen = load_encoder(config.encoder, config.branch, trust=config.trust)
    export(
        frozen,
        config.out,
        Path(config.encoder),
        onnx=config.onnx,
        torch_export=config.torch_export,
        preprocessing=config.preprocessing,
        opset=config.opset,
    )
    write_card(frozen, config.out, Path(config.encoder), config.validations)
    say(f"Wrote {', '.join(sorted(path.name for path in config.out.iterdir()))} to {config.out}.")


def validate(config: ValidateConfig) -> None:
    """Ask the encoders of a study about another cohort, and write both answers side by side."""
    from morefromless.analysis.validate import validate
    from morefromless.report import validation

    check_out(config.out)
    result = validate(config)
    written = validation.write(result)
    validation.report(result).show()
    say()
    wrote(written)


def explain(config: ExplainConfig) -> None:
    """Compare two runs with each other, and write the page."""
    from morefromless.analysis.explain import explain
    from morefromless.report import disagreements

    check_out(config.out)
    result = explain(config)
    *_, page = disagreements.write(result)
    for line in result.summary_lines():
        say(line)
    say(f"Open {page} in a browser; its figures lie beside it.")


def headroom(config: HeadroomConfig) -> None:
    """Say what a privileged view could buy, without training."""
    from morefromless.analysis.headroom import measure_headroom
    from morefromless.report import headroom

    check_out(config.out)
    result = measure_headroom(config)
    headroom.report(result).show()
    say()
    wrote(headroom.write(result))


def represent(config: RepresentConfig) -> None:
    """Compare what the arms of a study represent, and write table and figures."""
    from morefromless.analysis.represent import represent
    from morefromless.report import similarities

    check_out(config.out)
    result = represent(config)
    written = similarities.write(result)
    similarities.report(result).show()
    say()
    wrote(written)


def reproduce(config: ReproduceConfig) -> None:
    """Carry out experiments of the paper, or say what that would take."""
    from morefromless.reproduction import reproduce

    check_out(config.out)
    reproduce(config)


def status(config: StatusConfig) -> None:
    """Say how far the runs of a folder are."""
    from morefromless.reproduction.status import show_status

    show_status(config.out)


def report(config: ReportConfig) -> None:
    """Write the report of a reproduction or a study."""
    from morefromless.report.report import write_report

    *_, markdown, page = write_report(config.out)
    say(f"Open {page} in a browser; {markdown} says the same in Markdown.")


def demo(config: DemoConfig) -> None:
    """The two controls on synthetic tissue."""
    from morefromless.demo import demo

    check_out(config.out)
    demo(config)
