"""How something is to be spoken, apart from the emotion: flags, and what a model can make of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from errors import UserError

if TYPE_CHECKING:
    from acoustic import LoadedModel
    from model import ProsodyControl


def add_manner_flags(parser: argparse.ArgumentParser) -> None:
    """--intensity, --pitch_shift, --pitch_range, --energy, --speed."""
    parser.add_argument(
        "--intensity",
        metavar="WORD",
        help="how strongly the emotion is meant, in the training data's words, e.g. normal or strong (default: between "
        "them; batch: where a line's name says none)",
    )
    parser.add_argument(
        "--pitch_shift", type=number_within(-24, 24), default=0.0, metavar="SEMITONES", help="-24 to 24 (default 0)"
    )
    parser.add_argument(
        "--pitch_range",
        type=number_within(0, 4),
        default=1.0,
        metavar="FACTOR",
        help="on the movements of pitch around its mean, 0 (monotone) to 4 (default 1)",
    )
    parser.add_argument(
        "--energy",
        type=number_within(-30, 30),
        default=0.0,
        metavar="DB",
        help="as if spoken louder, -30 to 30 (default 0)",
    )
    parser.add_argument(
        "--speed", type=number_within(0.25, 4), default=1.0, help="speaking rate, 0.25 to 4 (default 1)"
    )


def number_within(lowest: float, highest: float, above: bool = False) -> Callable[[str], float]:
    """An argument type: a number from `lowest` to `highest`, or above `lowest`."""

    def number(text: str) -> float:
        value = float(text)
        if not lowest <= value <= highest or (above and value == lowest):
            told = f"above {lowest:g}, at most {highest:g}" if above else f"in {lowest:g} … {highest:g}"
            raise argparse.ArgumentTypeError(f"must lie {told}, got {value:g}")
        return value

    return number


def wanted_prosody(args: argparse.Namespace, loaded: LoadedModel) -> ProsodyControl:
    """Raises UserError where it is asked of a model that has no prosody predictor."""
    from model import ProsodyControl

    control = ProsodyControl(args.pitch_shift, args.pitch_range, args.energy)
    if control != ProsodyControl() and loaded.model.prosody is None:
        raise UserError(
            f"{loaded.path} predicts no prosody, so --pitch_shift, --pitch_range and --energy say nothing to it; "
            "leave them out, or train with model.prosody.layer above 0"
        )
    return control


def intensity_number(args: argparse.Namespace, loaded: LoadedModel) -> int | None:
    """Of --intensity among those that the model knows. Raises UserError for another word."""
    if args.intensity is None:
        return None
    known = loaded.config.model.intensities
    if args.intensity not in known:
        raise UserError(f"unknown intensity {args.intensity!r}; known to {loaded.path}: {', '.join(known) or 'none'}")
    return known.index(args.intensity)
