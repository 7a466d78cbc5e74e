"""One file per base algorithm."""

from pldebias.learners.base import Learner
from pldebias.learners.fixmatch import FixMatch
from pldebias.learners.supervised import Supervised
from pldebias.learners.usadtm import USADTM

__all__ = ["USADTM", "FixMatch", "Learner", "Supervised"]
