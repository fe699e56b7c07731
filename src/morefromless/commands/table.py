"""The table of commands: options, function and help of each `mfl` command, grouped by topic."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from morefromless import config
from morefromless.commands import encoders, patches, studies


@dataclass(frozen=True)
class Command:
    """One command of `mfl`."""

    config: type
    function: Callable[[Any], None]
    summary: str
    """Help text. Its first sentence, of at most 63 letters, is shown in the list of all
    commands."""
    example: str


STORE_COMMANDS = {
    "ingest": Command(
        config.IngestConfig,
        patches.ingest,
        "Decode a source of patches once into a store. If interrupted, run the same command again "
        "to resume.",
        "mfl ingest path/to/patches stores/mine --group '(P\\d+)_'",
    ),
    "tile": Command(
        config.TileConfig,
        patches.tile,
        "Cut whole slides into a store of tiles (extra slides). Tiles without tissue are excluded. "
        "Tiles have one or two magnifications. If interrupted, run the same command again to "
        "resume.",
        "mfl tile slides stores/tiles --mpp 0.5 --low-power 2",
    ),
    "fetch": Command(
        config.FetchConfig,
        patches.fetch,
        "Download a public data set by name, or list the data sets. The known pitfalls of the data "
        "set are printed. If interrupted, run the same command again to resume.",
        "mfl fetch crc-val-he-7k data",
    ),
    "segment": Command(
        config.SegmentConfig,
        patches.segment,
        "Segment nuclei of all patches with HoVer-Net (extra nuclei). mfl ingest --nuclei reads "
        "the output.",
        "mfl segment path/to/patches masks --um-per-px 0.5",
    ),
    "hold-out": Command(
        config.HoldOutConfig,
        patches.hold_out,
        "Write a store to choose settings on, without the test patches. It has only the training "
        "patches, and part of them form its test split.",
        "mfl hold-out stores/mine stores/mine-hold-out",
    ),
    "publish": Command(
        config.PublishConfig,
        patches.publish,
        "Write a store in shards to S3-compatible or other storage. mfl stream reads it from "
        "there. If interrupted, run the same command again to resume.",
        "mfl publish stores/mine s3://bucket/mine",
    ),
    "stream": Command(
        config.StreamConfig,
        patches.stream,
        "Write a store whose patches are downloaded when they are read. The patches stay at the "
        "published address, so a data set may be larger than the disk.",
        "mfl stream s3://bucket/mine stores/mine --cache-gb 20",
    ),
    "views": Command(
        config.ViewsConfig,
        patches.views,
        "Write a contact sheet of patches and of their augmented views. It shows the input of each "
        "branch, and below each view the augmentation parameters that were drawn.",
        "mfl views stores/mine --primary downsample:7",
    ),
    "export-nuclei": Command(
        config.ExportNucleiConfig,
        patches.export_nuclei,
        "Write a store's nuclei as GeoJSON files for QuPath. There is one file per image.",
        "mfl export-nuclei stores/mine nuclei",
    ),
}

STUDY_COMMANDS = {
    "headroom": Command(
        config.HeadroomConfig,
        studies.headroom,
        "Estimate what a privileged view could add, without training. Probes on frozen features of "
        "both views give an upper limit of the gain. Predicting the privileged features from the "
        "primary view gives a forecast of it.",
        "mfl headroom stores/mine --primary downsample:7 --privileged full",
    ),
    "compare": Command(
        config.StudyConfig,
        studies.compare,
        "Train every arm with several seeds, and compare the encoders. Each frozen encoder is "
        "evaluated on every task, and tables, figures and a page are written. Finished runs are "
        "skipped. With --both-ways, each of two modalities is privileged for the other, as in the "
        "paper's Table 2.",
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
        "Evaluate each frozen branch of a run on its own modality.",
        "mfl probe runs/a",
    ),
    "validate": Command(
        config.ValidateConfig,
        studies.validate,
        "Evaluate the encoders of a study or run on another cohort. This is external validation: "
        "the probes are those of the encoders' own training patches.",
        "mfl validate runs/compare stores/other",
    ),
    "reproduce": Command(
        config.ReproduceConfig,
        studies.reproduce,
        "Reproduce the paper's tables and figures on your store. --scale sets the effort, and "
        "--plan prints the required resources. If interrupted, run the same command again to "
        "resume.",
        "mfl reproduce table1 --store stores/mine --plan",
    ),
    "demo": Command(
        config.DemoConfig,
        studies.demo,
        "Run mfl compare on synthetic tissue with a known outcome. In one study the privileged "
        "modality must help, in the other it must not. One page shows the results.",
        "mfl demo --out runs/demo",
    ),
}

ENCODER_COMMANDS = {
    "embed": Command(
        config.EmbedConfig,
        encoders.embed,
        "Write an encoder's features of patches and slides.",
        "mfl embed runs/a path/to/patches biopsy.svs --to features.h5",
    ),
    "predict": Command(
        config.PredictConfig,
        encoders.predict,
        "Write the classes of patches and slides, and heat maps. Class probabilities are "
        "calibrated.",
        "mfl predict runs/a biopsy.svs --to predictions.csv --maps maps",
    ),
    "app": Command(
        config.AppConfig,
        encoders.app,
        "Serve a page that shows what an encoder predicts for a patch. Drop a patch into the page "
        "in this computer's browser. It shows the encoder's input, the class, where the encoder "
        "looks, and the nearest training patches.",
        "mfl app runs/a",
    ),
    "export": Command(
        config.ExportConfig,
        encoders.export,
        "Write an encoder for timm and the Hub, ONNX or torch.export.",
        "mfl export runs/a encoder --onnx",
    ),
}

REPORT_COMMANDS = {
    "status": Command(
        config.StatusConfig,
        studies.status,
        "List which runs are done, running, failed, begun or waiting. Begun runs were interrupted. "
        "Runs may be on this machine or on a cluster. For failed runs, the reason is printed.",
        "mfl status runs/compare",
    ),
    "report": Command(
        config.ReportConfig,
        studies.report,
        "Write the report of a comparison or of a reproduction. It is one HTML page and one "
        "Markdown file, written from the files in its folder.",
        "mfl report runs/compare",
    ),
    "explain": Command(
        config.ExplainConfig,
        studies.explain,
        "Compare two runs on one HTML page. It has confusion matrices, CKA, a map of the features, "
        "and every test patch on which the runs disagree, with the GradCAM of each.",
        "mfl explain runs/a runs/b --out explained",
    ),
    "represent": Command(
        config.RepresentConfig,
        studies.represent,
        "Compare what the arms of a finished study represent. CKA covers all combinations of their "
        "runs, and untrained encoders. GradCAMs and confusion matrices follow (the paper's Fig. 2, "
        "3, S4, S5).",
        "mfl represent runs/compare",
    ),
}

GROUPS = {
    "Patches and stores": STORE_COMMANDS,
    "Training and evaluation": STUDY_COMMANDS,
    "Use of an encoder": ENCODER_COMMANDS,
    "Reports and explanations": REPORT_COMMANDS,
}

COMMANDS = {word: command for group in GROUPS.values() for word, command in group.items()}
