from .catalogue import catalogue as catalogue
from .catalogue import find_runs as find_runs
from .recorder import Recorder as Recorder
from .run import NotLogged as NotLogged
from .run import Run as Run
from .run import RunError as RunError
from .run import open_run as open_run
