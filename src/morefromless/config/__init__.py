"""What each command can be asked: small dataclasses, composed; each option's help stands once.

`Train`, `Pairing`, `Machine`, `Arm` and `Probe` are the parts; `RunConfig` is one run, and
`StudyConfig` many. The command line, its help and `--config FILE` are all made from these classes
(`to_flat`, `from_flat`). The defaults are the paper's (section 2.2). Nothing here imports the
machinery, so that `mfl --help` answers at once.
"""

from morefromless.config.commands import Analysis as Analysis
from morefromless.config.commands import AppConfig as AppConfig
from morefromless.config.commands import Cluster as Cluster
from morefromless.config.commands import DemoConfig as DemoConfig
from morefromless.config.commands import EmbedConfig as EmbedConfig
from morefromless.config.commands import ExplainConfig as ExplainConfig
from morefromless.config.commands import ExportConfig as ExportConfig
from morefromless.config.commands import ExportNucleiConfig as ExportNucleiConfig
from morefromless.config.commands import FetchConfig as FetchConfig
from morefromless.config.commands import HeadroomConfig as HeadroomConfig
from morefromless.config.commands import HoldOutConfig as HoldOutConfig
from morefromless.config.commands import IngestConfig as IngestConfig
from morefromless.config.commands import Inputs as Inputs
from morefromless.config.commands import PredictConfig as PredictConfig
from morefromless.config.commands import ProbeConfig as ProbeConfig
from morefromless.config.commands import ReportConfig as ReportConfig
from morefromless.config.commands import RepresentConfig as RepresentConfig
from morefromless.config.commands import ReproduceConfig as ReproduceConfig
from morefromless.config.commands import SegmentConfig as SegmentConfig
from morefromless.config.commands import StatusConfig as StatusConfig
from morefromless.config.commands import ValidateConfig as ValidateConfig
from morefromless.config.commands import ViewsConfig as ViewsConfig
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
from morefromless.config.parts import Precision as Precision
from morefromless.config.parts import Probe as Probe
from morefromless.config.parts import Role as Role
from morefromless.config.parts import Sharing as Sharing
from morefromless.config.parts import Train as Train
from morefromless.config.storing import TileConfig as TileConfig
from morefromless.config.training import DEFAULTS as DEFAULTS
from morefromless.config.training import RunConfig as RunConfig
from morefromless.config.training import StudyConfig as StudyConfig
