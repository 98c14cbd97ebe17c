"""The acoustic model, its loss and its learning-rate schedule. Nothing here reads a file or a configuration."""

from model.acoustic_model import AcousticModel, ModelOutput, ModelSizes, count_parameters
from model.loss import LossCounts, Losses, LossSums, TrainingLoss
from model.prosody import Prosody, ProsodyControl
from model.schedule import learning_rate

__all__ = [
    "AcousticModel",
    "LossCounts",
    "LossSums",
    "Losses",
    "ModelOutput",
    "ModelSizes",
    "Prosody",
    "ProsodyControl",
    "TrainingLoss",
    "count_parameters",
    "learning_rate",
]
