"""Figures for papers and still images: one function a file, drawn with matplotlib from numbers of `pldebias.metrics` and `analysis`."""

from pldebias.plots.accuracy_gamma import accuracy_gamma
from pldebias.plots.carpet import carpet
from pldebias.plots.confusion import confusion
from pldebias.plots.confusion_difference import confusion_difference
from pldebias.plots.confusion_epochs import confusion_epochs
from pldebias.plots.estimated_prior import estimated_prior
from pldebias.plots.label_distribution import label_distribution
from pldebias.plots.learned_state import learned_state
from pldebias.plots.paper import PaperFigure
from pldebias.plots.recall_precision import recall_precision
from pldebias.plots.style import Drawn
from pldebias.plots.training_curves import training_curves
from pldebias.plots.unlabelled_imbalance import unlabelled_imbalance

__all__ = [
    "Drawn",
    "PaperFigure",
    "accuracy_gamma",
    "carpet",
    "confusion",
    "confusion_difference",
    "confusion_epochs",
    "estimated_prior",
    "label_distribution",
    "learned_state",
    "recall_precision",
    "training_curves",
    "unlabelled_imbalance",
]
