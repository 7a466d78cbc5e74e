"""One file per paper: pure functions on tensors first, the small stateful part under them."""

from pldebias.schemes.adello import ADELLO
from pldebias.schemes.base import Chain, EpochEnd, Models, Problem, Scheme, Step
from pldebias.schemes.daso import DASO
from pldebias.schemes.debiaspl import DebiasPL
from pldebias.schemes.la import LA
from pldebias.schemes.seval import SEVAL
from pldebias.schemes.udal import UDAL

__all__ = ["ADELLO", "DASO", "LA", "SEVAL", "UDAL", "Chain", "DebiasPL", "EpochEnd", "Models", "Problem", "Scheme", "Step"]
