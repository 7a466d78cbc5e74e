"""Training: one loop, its presets, and the door `train`."""

from pldebias.presets import PRESETS, Config, ConfigError, resolve
from pldebias.training.failures import TrainingError
from pldebias.training.sweep import sweep
from pldebias.training.train import train

__all__ = ["PRESETS", "Config", "ConfigError", "TrainingError", "resolve", "sweep", "train"]
