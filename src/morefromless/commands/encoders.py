"""Commands that use a trained encoder."""

from pathlib import Path
from typing import TYPE_CHECKING

from morefromless.config import AppConfig, EmbedConfig, ExportConfig, PredictConfig
from morefromless.errors import ConfigError
from morefromless.files import check_writable
from morefromless.report.terminal import say

if TYPE_CHECKING:
    from morefromless.evaluation.frozen import FrozenEncoder
    from morefromless.inference.embed import Embedding
    from morefromless.inference.patches import Patches


def embed(config: EmbedConfig) -> None:
    """Compute and write an encoder's features of patches and slides."""
    from morefromless.inference.embed import partial_folder
    from morefromless.inference.writers import write_embedding, writer
    from morefromless.report.words import count

    writer(config.to)  # raises for an unsupported ending before anything is computed
    frozen, inputs = _open(config)
    with partial_folder(config.to) as partial:
        embedding = _embed(config, frozen, inputs, partial)
        write_embedding(embedding, config.to)
    patches, width = embedding.features.shape
    say(f"Wrote {config.to}: {count(patches, 'patch')} x {width:,} features.")


def predict(config: PredictConfig) -> None:
    """Predict and write the classes of patches, and heat maps of slides."""
    from morefromless.devices import resolve_device
    from morefromless.evaluation.calibration import calibrated_on_training_data
    from morefromless.inference.embed import partial_folder
    from morefromless.inference.predict import (
        check_suffix,
        find_probe,
        predict,
        write_predictions,
    )
    from morefromless.inference.slides import SlidePatches
    from morefromless.report.slide_maps import write_maps
    from morefromless.report.words import count, per_cent

    check_suffix(config.to)
    if config.maps:
        check_writable(config.maps, "--maps")
    frozen, inputs = _open(config)
    if config.maps and not any(isinstance(patches, SlidePatches) for patches in inputs):
        raise ConfigError("--maps draws slides, but no input is a slide; remove it.")
    device = resolve_device(config.reading.device)
    probe = find_probe(frozen, Path(config.encoder), config.store, config.task, device)
    data = frozen.data
    if data and probe.store != data.hash and not data.unlabelled:
        say(
            f"- The probe was fitted on another store than {config.encoder} was trained on; mfl "
            "probe RUN fits one on the run's own store."
        )
    with partial_folder(config.to) as partial:
        predictions = predict(_embed(config, frozen, inputs, partial), probe, config.abstain)
        write_predictions(predictions, config.to)
        # Draw the maps before the partial results are removed, so that an interrupted command can
        # resume.
        maps = [
            write_maps(patches, predictions, config.maps)
            for patches in inputs
            if config.maps and isinstance(patches, SlidePatches)
        ]
    trained = calibrated_on_training_data(frozen, probe)
    reference_note = f"{len(probe.distances):,} {'calibration' if trained else 'held-out'}"
    patches_note = "patches, on which the head was trained too," if trained else "training patches"
    if config.abstain:
        coverage, accuracy = probe.coverage_and_accuracy(config.abstain)
        covered = (predictions["class"] != "").mean()
        accuracy_note = f", which is correct for {per_cent(accuracy)} %" if coverage else ""
        say(
            f"- With a probability of at least {config.abstain:g}, {per_cent(coverage)} % of the "
            f"{reference_note} {patches_note} get a class{accuracy_note}; of these inputs, "
            f"{per_cent(covered)} % get one."
        )
    outliers = (predictions["outlier_percentile"] >= 99).mean()
    share = per_cent(outliers)
    say(
        f"- {share} % of the inputs are farther from the training patches than 99 % of the "
        f"{reference_note} patches."
    )
    for paths in maps:
        say(f"- Wrote {', '.join(map(str, paths))}.")
    say(f"Wrote {config.to}: {count(len(predictions), 'patch')}, {len(probe.classes)} classes.")


def _open(config: EmbedConfig | PredictConfig) -> "tuple[FrozenEncoder, list[Patches]]":
    """Return the encoder and its inputs; print what cannot be checked of them."""
    from morefromless.evaluation.loading import load_encoder
    from morefromless.inference.inputs import open_inputs, remarks

    check_writable(config.to.parent, "--to")
    if config.to.is_dir():
        raise ConfigError(f"{config.to} is a folder; give a file with --to.")
    reading = config.reading
    frozen = load_encoder(config.encoder, reading.branch, trust=reading.trust)
    inputs = open_inputs(config.inputs, frozen, reading.um_per_px, reading.at)
    for remark in remarks(inputs, frozen, reading.at):
        say(f"- {remark}")
    return frozen, inputs


def _embed(
    config: EmbedConfig | PredictConfig,
    frozen: "FrozenEncoder",
    inputs: "list[Patches]",
    partial: Path,
) -> "Embedding":
    """Return the features of the inputs; print the number of unreadable patches by reason."""
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
    say(f"Open http://{server.host}:{server.port}/ in a browser; Ctrl-C stops the server.")
    server.serve_forever()


def export(config: ExportConfig) -> None:
    """Export an encoder for other tools."""
    from morefromless.evaluation.loading import load_encoder
    from morefromless.inference.export import export
    from morefromless.report.model_card import external_cohorts, write_card

    run = Path(config.encoder)
    frozen = load_encoder(config.encoder, config.branch, trust=config.trust)
    cohorts = external_cohorts(run, config.validations)
    export(
        frozen,
        config.out,
        run,
        onnx=config.onnx,
        torch_export=config.torch_export,
        preprocessing=config.preprocessing,
        opset=config.opset,
    )
    write_card(frozen, config.out, run, cohorts)
    say(f"Wrote {', '.join(sorted(path.name for path in config.out.iterdir()))} to {config.out}.")
