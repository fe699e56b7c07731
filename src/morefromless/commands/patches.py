"""Commands that write and show stores of patches."""

from pathlib import Path
from typing import TYPE_CHECKING

from morefromless.config import (
    ExportNucleiConfig,
    FetchConfig,
    HoldOutConfig,
    IngestConfig,
    PublishConfig,
    SegmentConfig,
    StreamConfig,
    TileConfig,
    ViewsConfig,
)
from morefromless.report.terminal import say, shell_quote, show_written

if TYPE_CHECKING:
    from morefromless.ingest.report import IngestReport


def ingest(options: IngestConfig) -> None:
    """Decode a source into a store, and print how many patches were accepted and rejected."""
    from morefromless.commands.next_step import next_step
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
        workers=options.workers,
        strict=options.strict,
        missing=options.missing,
        um_per_px=options.um_per_px,
    )
    _show_report(report)
    store = report.store
    if store.unlabelled and not (options.unlabelled or store.typed_nuclei):
        say(
            "- No patch has a tissue class. In a table, name the column label, or give its name as "
            "in manifest:TABLE,label=COLUMN; for other sources, give --label."
        )
    say(f"Next: {next_step(store, cohort=options.split == 'test')}")


def tile(options: TileConfig) -> None:
    """Cut slides into a store of tiles."""
    from morefromless.commands.next_step import next_step
    from morefromless.ingest import ingest
    from morefromless.ingest.labelling import Relabelled
    from morefromless.ingest.staining import StainNormalised
    from morefromless.ingest.tiling import FOLDER, LOW_POWER, Tiles
    from morefromless.sources import Source

    source: Source = Relabelled(
        Tiles(options), options.label, options.group, options.classes, options.drop
    )
    if options.normalise_stain:
        source = StainNormalised(source, ("he", LOW_POWER, "context"))
    report = ingest(
        source,
        options.store,
        split=options.split,
        test_share=options.test_share,
        seed=options.seed,
        workers=options.workers,
        strict=options.strict,
    )
    _show_report(report)
    say(f"Check the detected tissue before you train: {options.store / FOLDER}/*.png")
    say(f"Next: {next_step(report.store, cohort=options.split == 'test')}")


def _show_report(report: "IngestReport") -> None:
    for note in report.notes:
        say(f"- {note}")
    say(str(report))


def fetch(options: FetchConfig) -> None:
    """List public data sets, show the datasheet of one, or download its files."""
    from morefromless.catalogue import names, public_set
    from morefromless.catalogue.download import fetch
    from morefromless.errors import ConfigError

    if not options.name:
        for name in names():
            say(f"{name}: {public_set(name).description}")
        say("Next: mfl fetch NAME, or mfl fetch NAME FOLDER")
        return
    sheet = public_set(options.name)
    say(f"{sheet.title}: {sheet.description}")
    say(f"By {sheet.authors}. Licence: {sheet.licence}. Cite {sheet.citation}.")
    for pitfall in sheet.pitfalls:
        say(f"- {pitfall}")
    if not options.folder:
        for file in sheet.files:
            size = f", {file.bytes:,} bytes" if file.bytes else ""
            say(f"{file.name}: {file.url}{size}, md5 {file.md5 or 'not known'}")
        say(sheet.instructions or f"Next: mfl fetch {options.name} FOLDER")
        return
    if sheet.files and not sheet.commercial and not options.accept_licence:
        raise ConfigError(
            f"{sheet.licence} forbids commercial use; give --accept-licence if you agree to it."
        )
    show_written(fetch(sheet, Path(options.folder), local=options.local, mirror=options.mirror))
    source = shell_quote(f"{options.name}:{options.folder}")
    say(f"Next: mfl ingest {source} STORE")


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
    say(f"- The licence of the weights also applies to these segmentations: {LICENCE}.")
    source, masks = shell_quote(options.source), shell_quote(options.out)
    say(f"{report}. To use them: mfl ingest {source} STORE --nuclei {masks}")


def hold_out(options: HoldOutConfig) -> None:
    """Write a store of the training patches only; part of them form its test split."""
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
    say(f"{options.out} has {train:,} patches to train on and {test:,} to choose settings on.")


def views(options: ViewsConfig) -> None:
    """Write a contact sheet."""
    from morefromless.report.sheet import write_sheet

    say(f"Wrote {write_sheet(options)}: check it before you train.")


def export_nuclei(options: ExportNucleiConfig) -> None:
    """Write a store's nuclei as GeoJSON."""
    from morefromless.data.store import Store
    from morefromless.nuclei_export import export_geojson
    from morefromless.report.nuclei_legend import write_legend

    store = Store.open(options.store)
    count = export_geojson(store, options.out)
    legend = write_legend(store, options.out)
    say(f"Wrote the nuclei of {count:,} images to {options.out}; {legend} has their colours.")


def publish(options: PublishConfig) -> None:
    """Write a store to an address, in shards."""
    from morefromless.data.store import Store
    from morefromless.publishing import publish

    store = Store.open(options.store)
    count = publish(store, options.address)
    say(f"Published {len(store.table):,} patches in {count:,} shards.")
    say(f"Next, on the machine that needs them: mfl stream {shell_quote(options.address)} STORE")


def stream(options: StreamConfig) -> None:
    """Write a store whose patches stay at an address."""
    from morefromless.publishing import stream

    store = stream(options.address, options.store, options.cache_gb)
    say(f"{options.store} has {len(store.table):,} patches, downloaded when they are read.")
