"""One file per paper: pure functions on tensors first, the small stateful part under them."""

from pldebias._deprecate import moved
from pldebias.schemes.abc import ABC
from pldebias.schemes.acr import ABCLA, ACR
from pldebias.schemes.adello import ADELLO
from pldebias.schemes.adsh import Adsh
from pldebias.schemes.base import Chain, EpochEnd, Models, Problem, Scheme, Step
from pldebias.schemes.cdmad import CDMAD
from pldebias.schemes.crest import CReST, CReSTPlus
from pldebias.schemes.darp import DARP
from pldebias.schemes.daso import DASO
from pldebias.schemes.debiaspl import DebiasPL
from pldebias.schemes.la import LA
from pldebias.schemes.ldam import LDAM
from pldebias.schemes.part import Button, Slider, Switch
from pldebias.schemes.reweight import DRW, ClassBalanced, Focal
from pldebias.schemes.saw import SAW
from pldebias.schemes.seval import SEVAL
from pldebias.schemes.simpro import SimPro
from pldebias.schemes.udal import UDAL

__all__ = [
    "ABC",
    "ABCLA",
    "ACR",
    "ADELLO",
    "CDMAD",
    "DARP",
    "DASO",
    "DRW",
    "LA",
    "LDAM",
    "SAW",
    "SEVAL",
    "UDAL",
    "Adsh",
    "Button",
    "CReST",
    "CReSTPlus",
    "Chain",
    "ClassBalanced",
    "DebiasPL",
    "EpochEnd",
    "Focal",
    "Models",
    "Problem",
    "Scheme",
    "SimPro",
    "Slider",
    "Step",
    "Switch",
]

_FORMULAS = ("alignment", "offsets", "queue", "refinery", "refinery_cpu", "thresholds")
__getattr__ = moved(__name__, {name: f"{__name__}.formulas.{name}" for name in _FORMULAS} | {"curriculum": f"{__name__}.seval"})
