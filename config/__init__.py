"""Typed configuration of a run: `load_config(dataset, overrides)`."""

from config.schema import Config, known_datasets, load_config

__all__ = ["Config", "known_datasets", "load_config"]
