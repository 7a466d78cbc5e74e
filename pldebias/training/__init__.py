"""Training: one loop, its presets, and the door `train`."""

from pldebias.training.loop import TrainingError
from pldebias.training.presets import PRESETS, Config, ConfigError, resolve
from pldebias.training.sweep import sweep
from pldebias.training.train import train

__all__ = ["PRESETS", "Config", "ConfigError", "TrainingError", "resolve", "sweep", "train"]
