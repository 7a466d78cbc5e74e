"""Several runs side by side: which may be compared, their numbers with spread over seeds, tables and published results."""

from pldebias.analysis.comparing.compare import summary
from pldebias.analysis.comparing.measures import names
from pldebias.analysis.comparing.selection import Incomparable, select

__all__ = ["Incomparable", "names", "select", "summary"]
