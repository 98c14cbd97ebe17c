"""Forced alignment by pocketsphinx and the US-English model that its wheel contains.

    words   kids          are      talking …
    phones  K IH1 D Z     AA1 R    T AO1 K IH0 NG …      stress is ours; the model knows phones without it
    key     K-IH-D-Z      AA-R     T-AO-K-IH-NG          the word's name in the decoder's dictionary

Two passes, as pocketsphinx wants them: a word network with optional silences between words, then the states of the
phones within the words found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from errors import UserError
from preprocessor.align_tasks import AlignmentError, SpokenWord
from preprocessor.speech_span import LOUD_PAUSE_DB, loudest_pause
from preprocessor.textgrid_writer import Interval
from text.symbols import ARPABET

LANGUAGE = "en"  # the model's
MODEL_RATE = 16000  # Hz
FRAME_RATE = 100  # frames per second of audio at MODEL_RATE
PEAK = 0.9  # of full scale; the model's features are not independent of the level
# Resampled to more than 16 kHz but read as 16 kHz, speech is slower and lower: x0.85, x0.9, x0.8, x0.75. Of 11 RAVDESS
# recordings that fail as they are (shouted, high voices) this rescues 10; of 24 in which words were taken for a pause,
# 19.
RATES = (MODEL_RATE, 18824, 17778, 20000, 21333)  # Hz, in the order they are tried
MODEL_PHONES = frozenset(phone.rstrip("012") for phone in ARPABET)


@dataclass(frozen=True)
class Aligned:
    """The spoken intervals of a recording. What lies between them is silence."""

    words: tuple[Interval, ...]
    phones: tuple[Interval, ...]  # labels as in the SpokenWords
    speed: float  # 1, or less when only slowed audio could be aligned


class PocketsphinxAligner:
    """One decoder. Its results do not depend on what it aligned before."""

    def __init__(self) -> None:
        self._decoder = _load_decoder()

    def align(self, wav: npt.NDArray[np.float32], sampling_rate: int, words: Sequence[SpokenWord]) -> Aligned:
        """Find the words' phones in a recording, all of them and in order.

        wav: [samples] at `sampling_rate` Hz, any level. Times come in steps of 10 ms (of the slowed audio).
        The speeds in RATES are tried until one yields an alignment without a loud pause, in which words could be lost;
        where none does, it is the first that yields any. Raises AlignmentError when none does, when there are no
        words, when a phone is unknown to the model, and when the recording is silent.
        """
        keys = [_key(word) for word in words]
        peak = float(np.abs(wav).max()) if len(wav) else 0.0
        if not keys:
            raise AlignmentError("there are no words to align")
        if peak == 0.0:
            raise AlignmentError("the recording is silent")
        second_best: Aligned | None = None
        for rate in RATES:
            slowed = soxr.resample(wav / peak, sampling_rate, rate, quality="HQ")
            pcm = np.clip(np.round(slowed * (PEAK * 32767)), -32768, 32767).astype(np.int16)
            frames = self._decode(pcm.tobytes(), keys)
            if frames is not None:
                aligned = Aligned(*_intervals(words, frames, rate, len(wav) / sampling_rate), speed=MODEL_RATE / rate)
                pause = loudest_pause(wav, sampling_rate, [(phone.start, phone.end) for phone in aligned.phones])
                if pause is None or pause < LOUD_PAUSE_DB:
                    return aligned
                second_best = second_best or aligned
        if second_best is not None:
            return second_best
        raise AlignmentError(f"the decoder did not reach the last phone at any of {len(RATES)} speeds")

    def _decode(self, pcm: bytes, keys: Sequence[str]) -> list[list[tuple[int, int]]] | None:
        """First and next frame of every phone of every word; None when the decoder lost one of them."""
        try:
            return self._two_passes(pcm, keys)
        except RuntimeError:  # what every failure inside pocketsphinx becomes; its decoder may be half-way through
            self._decoder = _load_decoder()
            return None

    def _two_passes(self, pcm: bytes, keys: Sequence[str]) -> list[list[tuple[int, int]]] | None:
        decoder = self._decoder
        for key in keys:
            if decoder.lookup_word(key) is None:
                decoder.add_word(key, key.replace("-", " "), False)
        decoder.set_align_text(" ".join(keys))
        self._run(pcm)
        # A search that ends short of the final state says nothing and returns the words up to there.
        if [segment.word for segment in decoder.seg() or () if segment.word[0].isalpha()] != list(keys):
            return None
        decoder.set_alignment()
        self._run(pcm)
        # An entry is a view of the decoder's memory: read it while iterating, keep nothing of it.
        names, phones = [], []
        for word in decoder.get_alignment():
            entries = [(phone.name, phone.start, phone.start + phone.duration) for phone in word]
            if word.name[0].isalpha():  # not <sil>, [NOISE], …
                names.append("-".join(name for name, _, _ in entries))
                phones.append([(start, end) for _, start, end in entries])
        return phones if names == list(keys) else None

    def _run(self, pcm: bytes) -> None:
        self._decoder.reinit_feat()  # forgets the cepstral mean of what was decoded before
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, full_utt=True)
        self._decoder.end_utt()


def _load_decoder() -> Any:
    try:
        import pocketsphinx
    except ImportError as error:
        raise UserError("pocketsphinx is not installed; run: pip install -r requirements.txt") from error
    # bestpath re-times the words by a lattice, and the second pass cannot always meet those times: with it 35 of 1,320
    # RAVDESS recordings fail at the first attempt, without it 15.
    return pocketsphinx.Decoder(
        hmm=pocketsphinx.get_model_path("en-us/en-us"), lm=None, dict=None, bestpath=False, loglevel="FATAL"
    )


def _key(word: SpokenWord) -> str:
    phones = [phone.rstrip("012") for phone in word.phones]
    for phone, bare in zip(word.phones, phones, strict=True):
        if bare not in MODEL_PHONES:
            raise AlignmentError(f"the acoustic model has no phone {phone!r} (word {word.text!r})")
    if not phones:
        raise AlignmentError(f"the word {word.text!r} has no pronunciation")
    return "-".join(phones)


def speed_of(starts: Sequence[float]) -> float | None:
    """The speed at which an alignment was found, read off its phones' starts (seconds): slowed audio has finer steps.

    None for times that no speed yields: the alignment is not ours.
    """
    for rate in RATES:
        frames = [round(start * rate / MODEL_RATE * FRAME_RATE) for start in starts]
        if all(abs(frame_start(frame, rate) - start) < 1e-6 for frame, start in zip(frames, starts, strict=True)):
            return MODEL_RATE / rate
    return None


def frame_start(frame: int, rate: int) -> float:
    """Where a frame of audio that was resampled to `rate` begins in the recording."""
    return round(frame * MODEL_RATE / rate / FRAME_RATE, 4)


def _intervals(
    words: Sequence[SpokenWord], frames: Sequence[Sequence[tuple[int, int]]], rate: int, limit: float
) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """Frames of audio resampled to `rate` -> word and phone intervals that end by `limit` seconds."""

    def seconds(frame: int) -> float:
        return min(frame_start(frame, rate), limit)

    word_intervals, phone_intervals = [], []
    for word, phones in zip(words, frames, strict=True):
        word_intervals.append(Interval(seconds(phones[0][0]), seconds(phones[-1][1]), word.text))
        for label, (start, end) in zip(word.phones, phones, strict=True):
            phone_intervals.append(Interval(seconds(start), seconds(end), label))
    return tuple(word_intervals), tuple(phone_intervals)
