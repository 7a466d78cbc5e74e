"""Figures for papers and still images: one function a file, drawn with matplotlib from numbers of `pldebias.metrics` and `analysis`."""

from pldebias.plots.accuracy_gamma import accuracy_gamma
from pldebias.plots.blending import blending
from pldebias.plots.carpet import carpet
from pldebias.plots.confusion import confusion
from pldebias.plots.confusion_difference import confusion_difference
from pldebias.plots.confusion_epochs import confusion_epochs
from pldebias.plots.embedding import embedding, embedding_slider
from pldebias.plots.estimated_prior import estimated_prior
from pldebias.plots.flows import flows
from pldebias.plots.label_distribution import label_distribution
from pldebias.plots.learned_state import learned_state
from pldebias.plots.learning_order import learning_order
from pldebias.plots.paper import PaperFigure
from pldebias.plots.recall_precision import recall_precision
from pldebias.plots.reliability import reliability
from pldebias.plots.samples import samples
from pldebias.plots.style import Drawn
from pldebias.plots.threshold_sweep import threshold_sweep
from pldebias.plots.training_curves import training_curves
from pldebias.plots.unlabelled_imbalance import unlabelled_imbalance
from pldebias.plots.what_if import what_if

__all__ = [
    "Drawn",
    "PaperFigure",
    "accuracy_gamma",
    "blending",
    "carpet",
    "confusion",
    "confusion_difference",
    "confusion_epochs",
    "embedding",
    "embedding_slider",
    "estimated_prior",
    "flows",
    "label_distribution",
    "learned_state",
    "learning_order",
    "recall_precision",
    "reliability",
    "samples",
    "threshold_sweep",
    "training_curves",
    "unlabelled_imbalance",
    "what_if",
]
