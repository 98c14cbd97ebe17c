"""MelGAN's generator (Kumar et al. 2019, arXiv 1910.06711) in the layout of descriptinc's published weights."""

from melgan.generator import PUBLISHED_MEL, Generator

__all__ = ["PUBLISHED_MEL", "Generator"]
