"""Typed configuration of a run: `load_config(dataset, overrides)`."""

from config.loading import from_dict, known_datasets, load_config
from config.schema import Config

__all__ = ["Config", "from_dict", "known_datasets", "load_config"]
