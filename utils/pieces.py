"""A long input through a convolutional network in pieces, exactly: bounded memory, and the first of it early."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor


def piece_bounds(frames: int, first: int, largest: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive pieces: `first` frames, then twice as many each time, up to `largest`.

    piece_bounds(1000, 100, 300) -> (0, 100), (100, 300), (300, 600), (600, 900), (900, 1000)
    """
    start, size = 0, min(first, largest)
    while start < frames:
        yield start, min(start + size, frames)
        start, size = start + size, min(2 * size, largest)


def in_pieces(
    generator: Callable[[Tensor], Tensor], mel: Tensor, context: int, hop_length: int, first: int, largest: int
) -> Iterator[Tensor]:
    """`generator` on mel [1, bands, T]: waveforms [frames * hop_length] of consecutive pieces (see `piece_bounds`).

    Each piece sees `context` more frames on either side, as many as can influence it, so the seams are exact up to
    float32's last digits:

        frames   0        1000       2000
        1st      |-kept----|ctx
        2nd             ctx|-kept----|ctx
    """
    for start, stop in piece_bounds(mel.shape[-1], first, largest):
        left = max(0, start - context)
        wav = generator(mel[..., left : stop + context])[0]
        yield wav[(start - left) * hop_length : (stop - left) * hop_length]
