"""The table of commands: what a word after `mfl` takes and does, by the step of the flow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from morefromless import config
from morefromless.commands import encoders, patches, studies


@dataclass(frozen=True)
class Command:
    """What a word after `mfl` does."""

    config: type
    function: Callable[[Any], None]
    summary: str
    """Its first sentence, of at most 63 letters, stands in the list of all commands."""
    example: str


STORES = {
    "ingest": Command(
        config.IngestConfig,
        patches.ingest,
        "Decode a source of patches once into a store. Interrupted, the same command goes on "
        "where it was.",
        "mfl ingest path/to/patches stores/mine --group '(P\\d+)_'",
    ),
    "tile": Command(
        config.TileConfig,
        patches.tile,
        "Cut whole slides into a store of tiles (extra slides). Tiles without tissue are left "
        "out; they have one magnification or two. Interrupted, the same command goes on where it "
        "was.",
        "mfl tile slides stores/tiles --mpp 0.5 --low-power 2",
    ),
    "fetch": Command(
        config.FetchConfig,
        patches.fetch,
        "Fetch a public data set by its name, or list them. It says what must be known of the "
        "data. Interrupted, the same command goes on where it was.",
        "mfl fetch crc-val-he-7k data",
    ),
    "segment": Command(
        config.SegmentConfig,
        patches.segment,
        "Segment every patch's nuclei with HoVer-Net (extra nuclei). mfl ingest --nuclei takes "
        "what it writes.",
        "mfl segment path/to/patches masks --um-per-px 0.5",
    ),
    "hold-out": Command(
        config.HoldOutConfig,
        patches.hold_out,
        "Write a store to choose settings by, without the test patches. It has the training "
        "patches alone, part of which stand in test.",
        "mfl hold-out stores/mine stores/mine-hold-out",
    ),
    "publish": Command(
        config.PublishConfig,
        patches.publish,
        "Write a store in shards to S3-compatible or other storage. mfl stream reads it from "
        "there. Interrupted, the same command goes on where it was.",
        "mfl publish stores/mine s3://bucket/mine",
    ),
    "stream": Command(
        config.StreamConfig,
        patches.stream,
        "Write a store whose patches are fetched as they are read. They stay where they were "
        "published: for those that are larger than the disk.",
        "mfl stream s3://bucket/mine stores/mine --cache-gb 20",
    ),
    "views": Command(
        config.ViewsConfig,
        patches.views,
        "Write a contact sheet of patches and of their augmented views. It shows what each branch "
        "is given of a patch, and below each view what was drawn.",
        "mfl views stores/mine --primary downsample:7",
    ),
    "export-nuclei": Command(
        config.ExportNucleiConfig,
        patches.export_nuclei,
        "Write a store's nuclei as GeoJSON files for QuPath. One file is one image's.",
        "mfl export-nuclei stores/mine nuclei",
    ),
}

STUDIES = {
    "headroom": Command(
        config.HeadroomConfig,
        studies.headroom,
        "Estimate what a privileged view could add, without training. Probes on frozen features "
        "of both views give the most that it could; what the primary view predicts of it, a "
        "forecast.",
        "mfl headroom stores/mine --primary downsample:7 --privileged full",
    ),
    "compare": Command(
        config.StudyConfig,
        studies.compare,
        "Train every arm with several seeds, and compare the encoders. Each is asked every task, "
        "frozen; tables, figures and a page are written. What is done already is not done again. "
        "With --both-ways, two modalities teach each other, as in the paper's Table 2.",
        "mfl compare stores/mine --primary downsample:7 --privileged full --seeds 3",
    ),
    "train": Command(
        config.RunConfig,
        studies.train,
        "Train one arm with one seed. --config RUN/config.yaml repeats a run.",
        "mfl train stores/mine --out runs/a --kind asymmetric --primary downsample:7",
    ),
    "probe": Command(
        config.ProbeConfig,
        studies.probe,
        "Evaluate a run: each branch, frozen, on its own modality.",
        "mfl probe runs/a",
    ),
    "validate": Command(
        config.ValidateConfig,
        studies.validate,
        "Ask a study's encoders, or a run's, about another cohort. This is external validation: "
        "their probes are those of their own training patches.",
        "mfl validate runs/compare stores/other",
    ),
    "reproduce": Command(
        config.ReproduceConfig,
        studies.reproduce,
        "Reproduce the paper's tables and figures on your store. --scale sets the effort, and "
        "--plan says what it takes. Interrupted, the same command goes on where it was.",
        "mfl reproduce table1 --store stores/mine --plan",
    ),
    "demo": Command(
        config.DemoConfig,
        studies.demo,
        "Run the main job on synthetic tissue whose answer is known. Once the privileged modality "
        "must help, and once it must not; one page shows what came of it.",
        "mfl demo --out runs/demo",
    ),
}

ENCODERS = {
    "embed": Command(
        config.EmbedConfig,
        encoders.embed,
        "Write an encoder's features of patches and slides.",
        "mfl embed runs/a path/to/patches biopsy.svs --to features.h5",
    ),
    "predict": Command(
        config.PredictConfig,
        encoders.predict,
        "Write the classes of patches and slides, and heat maps. Their probabilities are "
        "calibrated.",
        "mfl predict runs/a biopsy.svs --to predictions.csv --maps maps",
    ),
    "app": Command(
        config.AppConfig,
        encoders.app,
        "Serve a page that shows what an encoder makes of a patch. Drop a patch in this "
        "computer's browser, and see what the encoder is given, its class, where it looks, and "
        "the nearest training patches.",
        "mfl app runs/a",
    ),
    "export": Command(
        config.ExportConfig,
        encoders.export,
        "Write an encoder for timm and the Hub, ONNX or torch.export.",
        "mfl export runs/a encoder --onnx",
    ),
}

REPORTS = {
    "status": Command(
        config.StatusConfig,
        studies.status,
        "Say which runs are done, running, failed, begun or waiting. Begun runs were interrupted. "
        "Runs may be on this machine or on a cluster; of failed ones the reason is given.",
        "mfl status runs/compare",
    ),
    "report": Command(
        config.ReportConfig,
        studies.report,
        "Write the report of a comparison or of a reproduction. One HTML page and its Markdown "
        "are written from what lies in its folder.",
        "mfl report runs/compare",
    ),
    "explain": Command(
        config.ExplainConfig,
        studies.explain,
        "Compare two runs on one HTML page. It has confusion matrices, CKA, a map of the "
        "features, and every test patch on which they disagree, with where each looks.",
        "mfl explain runs/a runs/b --out explained",
    ),
    "represent": Command(
        config.RepresentConfig,
        studies.represent,
        "Compare what the arms of a finished study represent. CKA goes over all combinations of "
        "their runs and of untrained ones; GradCAMs and confusion matrices follow (the paper's "
        "Fig. 2, 3, S4, S5).",
        "mfl represent runs/compare",
    ),
}

GROUPS = {
    "Patches and stores": STORES,
    "Training and evaluation": STUDIES,
    "Use of an encoder": ENCODERS,
    "Reports and explanations": REPORTS,
}

COMMANDS = {word: command for group in GROUPS.values() for word, command in group.items()}
