"""Waveforms in and out of files, and the mel spectrogram that the whole project speaks in."""

from typing import TYPE_CHECKING, Any

from audio.files import is_silent, load, peak, save

if TYPE_CHECKING:
    from audio.mel import MelSpectrogram

__all__ = ["MelSpectrogram", "is_silent", "load", "peak", "save"]


def __getattr__(name: str) -> Any:
    """Import torch only for those who want a spectrogram: reading and resampling recordings does not need it."""
    if name == "MelSpectrogram":
        from audio.mel import MelSpectrogram

        return MelSpectrogram
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
