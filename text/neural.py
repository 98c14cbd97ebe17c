"""Pronunciations of unknown words: g2p_en's GRU encoder-decoder, run in NumPy from the weights bundled with it.

The package itself is never imported: it would import nltk, which downloads data.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np

from errors import UserError
from text.lexicon import package_file
from text.symbols import CONSONANTS, STRESSES, VOWELS

if TYPE_CHECKING:
    from pathlib import Path

_LETTERS = {letter: index for index, letter in enumerate("abcdefghijklmnopqrstuvwxyz", start=3)}
_UNKNOWN_LETTER, _END_OF_WORD = 1, 2
_START, _END = 2, 3
# rows of the output layer: four marks, then the phones; of the vowels without stress the model knows UW alone
_PHONES = (
    *("<pad>", "<unk>", "<s>", "</s>"),
    *sorted([*CONSONANTS, "UW", *(vowel + stress for vowel in VOWELS for stress in STRESSES[1:])]),
)


class NeuralG2P:
    """Spelling -> ARPAbet phones with stress.

    Raises UserError where the weights are missing or not those of g2p_en 2.1.0.
    """

    def __init__(self) -> None:
        path = package_file("g2p_en", "checkpoint20.npz")
        weights = _load(path)
        try:
            self._encoder = _GRU(weights, "enc")
            self._decoder = _GRU(weights, "dec")
            self._output = weights["fc_w"], weights["fc_b"]  # [74, 256], [74]
        except KeyError as error:
            raise UserError(f"{path} lacks the weights {error}; run: pip install --force-reinstall g2p_en") from error
        if self._output[0].shape[0] != len(_PHONES):
            raise UserError(
                f"{path} has {self._output[0].shape[0]} outputs instead of {len(_PHONES)}; use g2p_en 2.1.0"
            )

    def __call__(self, word: str) -> tuple[str, ...]:
        """Phones of a lower-case word, greedily decoded; letters other than a-z count as unknown."""
        hidden = np.zeros(self._encoder.size, np.float32)
        for index in [*(_LETTERS.get(letter, _UNKNOWN_LETTER) for letter in word), _END_OF_WORD]:
            hidden = self._encoder(index, hidden)
        phones = []
        index = _START
        for _ in range(max(20, 2 * len(word))):  # the model nearly always ends by itself
            hidden = self._decoder(index, hidden)
            scores = self._output[0] @ hidden + self._output[1]
            index = _END + int(scores[_END:].argmax())  # padding, unknown and start are no phones
            if index == _END:
                break
            phones.append(_PHONES[index])
        return tuple(phones)


class _GRU:
    """One cell with its embedding. PyTorch's layout: rows are reset gate, update gate, candidate."""

    def __init__(self, weights: dict[str, np.ndarray], name: str) -> None:
        self._hidden_weights = weights[f"{name}_w_hh"]  # [3 * 256, 256]
        self._hidden_bias = weights[f"{name}_b_hh"]
        # the input only ever is one embedding row: one product per symbol, once
        self._inputs = (
            weights[f"{name}_emb"] @ weights[f"{name}_w_ih"].T + weights[f"{name}_b_ih"]
        )  # [symbols, 3 * 256]
        self.size = self._hidden_weights.shape[1]

    def __call__(self, index: int, hidden: np.ndarray) -> np.ndarray:
        given = self._inputs[index]
        kept = self._hidden_weights @ hidden + self._hidden_bias
        gates = 1.0 / (1.0 + np.exp(-(given[: 2 * self.size] + kept[: 2 * self.size])))
        reset, update = gates[: self.size], gates[self.size :]
        candidate = np.tanh(given[2 * self.size :] + reset * kept[2 * self.size :])
        return np.asarray((1.0 - update) * candidate + update * hidden)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"cannot read {path} ({error}); run: pip install --force-reinstall g2p_en") from error
