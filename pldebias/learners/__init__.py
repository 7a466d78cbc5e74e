"""One file per base algorithm."""

from pldebias._deprecate import moved
from pldebias.learners.base import Learner
from pldebias.learners.fixmatch import FixMatch
from pldebias.learners.flexmatch import FlexMatch
from pldebias.learners.freematch import FreeMatch
from pldebias.learners.meanteacher import MeanTeacher
from pldebias.learners.mixmatch import MixMatch
from pldebias.learners.pretraining import MoCo, Rotation
from pldebias.learners.pseudolabel import PseudoLabel
from pldebias.learners.remixmatch import ReMixMatch
from pldebias.learners.retraining import CRT, SelfTraining
from pldebias.learners.supervised import Supervised
from pldebias.learners.usadtm import USADTM

__all__ = [
    "CRT",
    "USADTM",
    "FixMatch",
    "FlexMatch",
    "FreeMatch",
    "Learner",
    "MeanTeacher",
    "MixMatch",
    "MoCo",
    "PseudoLabel",
    "ReMixMatch",
    "Rotation",
    "SelfTraining",
    "Supervised",
]

__getattr__ = moved(__name__, {"losses": "pldebias.schemes.formulas.losses"})
