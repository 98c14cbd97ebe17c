"""Which words are understood: pocketsphinx with its US-English acoustic model and no knowledge of sentences.

A corpus of two sentences would be recognised by any language model that has them, whatever it sounds like. Here every
word is as probable as any other at every place: those of the corpus and DECOYS that the dictionary has. What is
understood is then understood from the sound.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

DECOYS = 200  # with 1,000 of them half of RAVDESS's real words are misheard, too many to compare by
RATE = 16000  # Hz, the model's
PEAK = 0.9  # of full scale that everything is brought to: the level has no part in it
SEED = 1234


def words_of(text: str) -> list[str]:
    """Lower case, letters and apostrophes."""
    return re.findall(r"[a-z']*[a-z][a-z']*", text.lower())


def word_errors(spoken: Sequence[str], heard: Sequence[str]) -> int:
    """Substitutions, deletions and insertions at least needed (Levenshtein 1966)."""
    costs = list(range(len(heard) + 1))
    for row, word in enumerate(spoken, start=1):
        diagonal, costs[0] = costs[0], row
        for column, other in enumerate(heard, start=1):
            diagonal, costs[column] = (
                costs[column],
                min(costs[column] + 1, costs[column - 1] + 1, diagonal + (word != other)),
            )
    return costs[-1]


def vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """The corpus's words and the decoys, sorted; words that the dictionary lacks are left out."""
    pronounced = _dictionary()
    own = {word for text in texts for word in words_of(text)} & pronounced.keys()
    others = sorted(word for word in pronounced.keys() - own if re.fullmatch("[a-z]{2,}", word))
    return tuple(sorted(own | set(random.Random(SEED).sample(others, DECOYS))))


def recognise(wav: npt.NDArray[Any], sampling_rate: int, words: tuple[str, ...]) -> list[str]:
    """What is heard in wav [samples], as words of `words`. Earlier calls leave no trace."""
    decoder = _decoder(words)
    peak = float(np.abs(wav).max()) if len(wav) else 0.0
    if peak == 0.0:
        return []
    samples = soxr.resample(np.asarray(wav, dtype=np.float32) / peak, sampling_rate, RATE, quality="HQ")
    quiet = np.zeros(RATE // 10)  # the model expects silence around speech
    pcm = np.concatenate([quiet, np.clip(samples * PEAK, -1.0, 1.0), quiet])
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(np.round(pcm * 32767).astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    heard = hypothesis.hypstr.split() if hypothesis else []
    return [re.sub(r"\(\d+\)$", "", word) for word in heard if word[0].isalpha()]


@lru_cache(maxsize=1)
def _dictionary() -> dict[str, list[str]]:
    """Word -> its lines of the dictionary inside the package, `word PH PH …` and `word(2) PH …`."""
    import pocketsphinx

    lines: dict[str, list[str]] = {}
    text = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.strip():
            lines.setdefault(re.sub(r"\(\d+\)$", "", line.split()[0]), []).append(line)
    return lines


@lru_cache(maxsize=2)
def _decoder(words: tuple[str, ...]) -> Any:
    import pocketsphinx

    pronounced = _dictionary()
    probability = log10(1 / (len(words) + 1))
    model = [r"\data\ ".strip(), f"ngram 1={len(words) + 2}", "", r"\1-grams:", "-99 <s>", f"{probability:.4f} </s>"]
    model += [f"{probability:.4f} {word}" for word in words] + ["", r"\end\ ".strip(), ""]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "words.arpa").write_text("\n".join(model), encoding="utf-8")
        lines = [line for word in words for line in pronounced[word]]
        (Path(folder) / "words.dict").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return pocketsphinx.Decoder(
            lm=str(Path(folder) / "words.arpa"),
            dict=str(Path(folder) / "words.dict"),
            fwdflat=False,
            bestpath=False,
            loglevel="FATAL",
        )
