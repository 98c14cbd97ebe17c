"""HiFi-GAN generators V1, V2 and V3 (Kong et al. 2020, arXiv 2010.05646) in the layout of the published weights."""

from hifigan.architecture import PUBLISHED_MEL, VERSIONS, Architecture, infer_architecture
from hifigan.generator import Generator

__all__ = ["PUBLISHED_MEL", "VERSIONS", "Architecture", "Generator", "infer_architecture"]
