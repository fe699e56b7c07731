"""Options of every command, as small composed dataclasses; each option's help is written once.

`Train`, `Pairing`, `Machine`, `Arm` and `Probe` are the parts. `RunConfig` configures one run, and
`StudyConfig` configures many. The command line, its help and `--config FILE` are generated from
these classes (`to_flat`, `from_flat`). The defaults are the paper's (section 2.2). Nothing here
imports PyTorch or other heavy modules, so that `mfl --help` starts quickly.
"""

from morefromless.config.analyses import Analysis as Analysis
from morefromless.config.analyses import ExplainConfig as ExplainConfig
from morefromless.config.analyses import HeadroomConfig as HeadroomConfig
from morefromless.config.analyses import ProbeConfig as ProbeConfig
from morefromless.config.analyses import RepresentConfig as RepresentConfig
from morefromless.config.analyses import ValidateConfig as ValidateConfig
from morefromless.config.encoders import AppConfig as AppConfig
from morefromless.config.encoders import EmbedConfig as EmbedConfig
from morefromless.config.encoders import ExportConfig as ExportConfig
from morefromless.config.encoders import Inputs as Inputs
from morefromless.config.encoders import PredictConfig as PredictConfig
from morefromless.config.flat import differences as differences
from morefromless.config.flat import from_flat as from_flat
from morefromless.config.flat import to_flat as to_flat
from morefromless.config.flat import typed_options as typed_options
from morefromless.config.help import explain_options as explain_options
from morefromless.config.parts import Arm as Arm
from morefromless.config.parts import ArmKind as ArmKind
from morefromless.config.parts import Device as Device
from morefromless.config.parts import Machine as Machine
from morefromless.config.parts import Missing as Missing
from morefromless.config.parts import Pairing as Pairing
from morefromless.config.parts import Planning as Planning
from morefromless.config.parts import Precision as Precision
from morefromless.config.parts import Probe as Probe
from morefromless.config.parts import Role as Role
from morefromless.config.parts import Sharing as Sharing
from morefromless.config.parts import Train as Train
from morefromless.config.patches import ExportNucleiConfig as ExportNucleiConfig
from morefromless.config.patches import FetchConfig as FetchConfig
from morefromless.config.patches import HoldOutConfig as HoldOutConfig
from morefromless.config.patches import IngestConfig as IngestConfig
from morefromless.config.patches import PublishConfig as PublishConfig
from morefromless.config.patches import SegmentConfig as SegmentConfig
from morefromless.config.patches import StreamConfig as StreamConfig
from morefromless.config.patches import ViewsConfig as ViewsConfig
from morefromless.config.reproducing import Cluster as Cluster
from morefromless.config.reproducing import DemoConfig as DemoConfig
from morefromless.config.reproducing import ReportConfig as ReportConfig
from morefromless.config.reproducing import ReproduceConfig as ReproduceConfig
from morefromless.config.reproducing import StatusConfig as StatusConfig
from morefromless.config.storing import TileConfig as TileConfig
from morefromless.config.training import DEFAULTS as DEFAULTS
from morefromless.config.training import RunConfig as RunConfig
from morefromless.config.training import StudyConfig as StudyConfig
