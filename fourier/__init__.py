"""A small vocoder for CPUs: a network at frame rate shapes the spectra of a pulse train and of noise; one inverse
Fourier transform per frame makes the waveform.

Related work: source-filter networks (Wang, Takaki & Yamagishi 2019, arXiv 1904.12088), Vocos (Siuzdak 2023, arXiv
2306.00814: ConvNeXt blocks and a Fourier head), FreeV (Lv et al. 2024, arXiv 2406.08196: magnitudes begun at the mel
filterbank's pseudo-inverse).
"""

from fourier.architecture import VERSIONS, Architecture
from fourier.generator import Generator

__all__ = ["VERSIONS", "Architecture", "Generator"]
