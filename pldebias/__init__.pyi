from . import analysis as analysis
from . import metrics as metrics
from . import plots as plots
from . import presets as presets
from .analysis.comparing.tables import table as table
from .analysis.embedding import embed as embed
from .analysis.relabelling.whatif import what_if as what_if
from .methods import build_method as build_method
from .plugins import register as register
from .presets import Config as Config
from .registry import load_plugin as load_plugin
from .runs import Recorder as Recorder
from .runs import Run as Run
from .runs import catalogue as catalogue
from .runs import open_run as open_run
from .training import sweep as sweep
from .training import train as train
from .widgets import explore as explore
from .widgets.embedding import embedding_view as embedding_view

__version__: str
