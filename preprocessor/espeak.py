"""espeak-ng through ctypes: text to speech by rule, for corpora that may be generated rather than recorded."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from errors import UserError

# speak_lib.h of espeak-ng 1.52
_AUDIO_OUTPUT_RETRIEVAL = 1  # samples go to the callback, not to a sound card
_DONT_EXIT = 0x8000  # report missing data instead of ending our process
_CHARS_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

VOLUME = 60  # 100 is espeak-ng's default; some of its voices clip there


@dataclass(frozen=True)
class Prosody:
    """What espeak-ng can vary of a voice."""

    rate: int  # words per minute, 80-450
    pitch: int  # 0-99, 50 is the voice's own
    range: int  # 0 (monotone) - 99, 50 is the voice's own


class Espeak:
    """One espeak-ng per process: the library keeps its state in globals, and Terminate does not reset all of it.

    The same calls in the same order in a new process give the same samples; the same text twice does not.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader

            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = espeakng_loader.get_data_path()
        except (ImportError, OSError, RuntimeError) as error:
            raise UserError(f"espeak-ng cannot be loaded ({error}); run: pip install espeakng-loader==0.2.4") from error
        self.sampling_rate: int = self._library.espeak_Initialize(_AUDIO_OUTPUT_RETRIEVAL, 0, data.encode(), _DONT_EXIT)
        if self.sampling_rate <= 0:
            raise UserError(
                f"espeak-ng cannot use its data in {data}; run: pip install --force-reinstall espeakng-loader"
            )
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # otherwise the time of day: breath noise differs
        self._chunks: list[npt.NDArray[np.int16]] = []
        self._callback = _CALLBACK(self._collect)  # the library holds no reference of its own
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # go on

    def speak(self, text: str, voice: str, prosody: Prosody) -> npt.NDArray[np.int16]:
        """Speech [samples] at `sampling_rate` Hz, with little silence around it.

        voice: a language with an optional variant, such as "en-us+f2". Raises UserError for an unknown one.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise UserError(f"espeak-ng has no voice {voice!r}; expected one such as en-us+m3")
        values = {_RATE: prosody.rate, _VOLUME: VOLUME, _PITCH: prosody.pitch, _RANGE: prosody.range}
        for parameter, value in values.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        encoded = text.encode() + b"\0"
        self._library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate(self._chunks) if self._chunks else np.zeros(0, dtype=np.int16)
