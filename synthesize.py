"""Speak text in a speaker's voice with an emotion, given by a label or by a reference recording.

    python synthesize.py --mode single --text "Kids are talking by the door" --speaker_id Actor_01 --emotion_id happy
    python synthesize.py --mode single --text "Kids are talking by the door" --speaker_id Actor_02 --emotion_id all
    python synthesize.py --mode single --text "Dogs are sitting by the door" --speaker_id Actor_02 --ref_audio angry.wav
    python synthesize.py --dataset RAVDESS --restore_step latest --mode single \\
        --text "Kids are talking by the door" --speaker_id Actor_01 --emotion_id happy
    python synthesize.py --dataset ESD_zh --restore_step latest --mode single --language zh \\
        --text "今天天气不错。" --speaker_id 0001 --emotion_id happy
    python synthesize.py --dataset RAVDESS --restore_step 2000 --mode batch --source preprocessed_data/RAVDESS/val.txt
    python synthesize.py --mode single --stream --text "$(cat book.txt)" \\
        --speaker_id Actor_01 --emotion_id calm | aplay -r 22050 -f S16_LE -c 1

Without --restore_step the weights that ship (pretrained/<DATASET>) speak, or, where a dataset has none, the latest
checkpoint of your own.

Writes wav, mel spectrogram (png) and a json that says what made them to output/result/<DATASET>/<step>/. Any recording
serves as a reference, whatever its name, rate or channels. In batch mode each line has its own speaker and emotion;
lines without an emotion ("none-…") take that of --emotion_id.

--stream writes speech to standard output while it is computed: raw 16-bit little-endian samples, one channel, at the
model's rate (22,050 Hz unless it was trained on another). What is printed otherwise goes to standard error, and files
are written only where --output or --name is given.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from errors import UserError
from synthesis.manner import add_manner_flags, intensity_number, number_within, wanted_prosody
from utils.cli import Parser, add_config_flags, add_device_flag, positive_int, restore_step, run

if TYPE_CHECKING:
    from config import Config
    from synthesis.requests import Request
    from synthesis.synthesizer import Synthesizer

ALL_EMOTIONS = "all"
GPU_THREADS = 2  # that vocode on a GPU: one prepares while the other computes
SINGLE_FLAGS = ("text", "speaker_id", "emotion_id", "ref_audio", "ref_peak", "name", "language", "stream")


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser, default="RAVDESS")
    parser.add_argument(
        "--restore_step",
        type=restore_step,
        metavar="STEP",
        help='checkpoint, "latest", or "pretrained": the weights that ship (the default where there are any)',
    )
    parser.add_argument("--mode", choices=["single", "batch"], required=True, help="one text, or a metadata file")
    parser.add_argument("--text", help="single: what to say; {AA1 B} in braces is taken as phones")
    parser.add_argument(
        "--language",
        metavar="CODE",
        help="single: of the text, e.g. en, zh, ko (default: the first of the training data)",
    )
    parser.add_argument("--speaker_id", metavar="NAME", help="single: a speaker of the training data, e.g. Actor_01")
    parser.add_argument(
        "--emotion_id",
        metavar="NAME",
        help="single: an emotion of the training data, or all; batch: that of the lines that have none",
    )
    parser.add_argument("--ref_audio", type=Path, metavar="FILE", help="single: a recording whose emotion to take")
    parser.add_argument(
        "--ref_peak",
        type=number_within(0, 1, above=True),
        metavar="P",
        help="single: largest |sample|, 0 to 1, among the recordings of the reference's speaker; loudness is part of "
        "an emotion, and this tells what is loud for that speaker (default 1: the file's level is taken as it is)",
    )
    parser.add_argument("--name", help="single: name of the result files (default: made of speaker, emotion and text)")
    parser.add_argument(
        "--stream",
        action="store_true",
        default=None,
        help="single: raw 16-bit samples to standard output as they are computed; no files without --output or --name",
    )
    parser.add_argument("--source", type=Path, metavar="FILE", help="batch: lines of basename|speaker|{phones}|text")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: <result_path>/<step or pretrained>")
    add_manner_flags(parser)
    parser.add_argument(
        "--batch_size",
        type=positive_int,
        default=8,
        help="batch: utterances predicted at once (default 8; with 1, results do not vary with the list by a bit)",
    )
    parser.add_argument(
        "--threads", type=positive_int, metavar="N", help="cores to compute on (default: PyTorch's choice)"
    )
    add_device_flag(parser)
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Raise UserError for flags that miss or contradict each other."""
    given = [name for name in SINGLE_FLAGS if getattr(args, name) is not None]
    if args.mode == "batch":
        if args.source is None:
            raise UserError("--mode batch needs --source FILE, for example preprocessed_data/RAVDESS/val.txt")
        wrong = [name for name in given if name != "emotion_id"]
        if wrong:
            raise UserError(f"--{wrong[0]} belongs to --mode single; in batch mode each line of --source has its own")
        return
    if args.source is not None:
        raise UserError("--source belongs to --mode batch; single mode takes --text")
    for name in ("text", "speaker_id"):
        if getattr(args, name) is None:
            raise UserError(f"--mode single needs --{name}")
    if (args.emotion_id is None) == (args.ref_audio is None):
        both = "not both" if args.emotion_id is not None else "neither is given"
        raise UserError(f"--mode single needs either --emotion_id or --ref_audio, {both}")
    if args.ref_peak is not None and args.ref_audio is None:
        raise UserError("--ref_peak belongs to --ref_audio")
    if args.stream:
        check_stream(args)


def check_stream(args: argparse.Namespace) -> None:
    """Raise UserError where a stream makes no sense."""
    if args.emotion_id == ALL_EMOTIONS:
        raise UserError(f"--stream speaks one emotion; --emotion_id {ALL_EMOTIONS} makes several files")
    if sys.stdout.isatty():
        raise UserError(
            "--stream writes samples to standard output, which is a terminal; append "
            '"| aplay -r 22050 -f S16_LE -c 1" to hear them, or "> speech.raw"'
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, load, speak."""
    args = build_parser().parse_args(argv)
    check_arguments(args)
    from utils.startup import quick_start

    with ExitStack() as stack:
        samples = sys.stdout.buffer if args.stream else None
        if args.stream:
            stack.enter_context(redirect_stdout(sys.stderr))
        with quick_start():
            from config import load_config
            from text import check_languages

            config = load_config(args.dataset, args.overrides)
            check_languages([*([args.language] if args.language else []), *languages_of(config)])
            speak = prepare_single(args, config, samples) if args.mode == "single" else prepare_batch(args, config)
        speak()
    return 0


def languages_of(config: Config) -> list[str]:
    """Codes of what a dataset, or a model trained on it, speaks."""
    return config.preprocess.preprocessing.text.languages


def load(args: argparse.Namespace, config: Config) -> tuple[Synthesizer, Path]:
    """Model and vocoder, and the result folder."""
    import torch

    from acoustic import load_model
    from synthesis.synthesizer import Synthesizer
    from utils.devices import choose_devices
    from vocoder import load_vocoder

    device = choose_devices(args.device)[0]
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    loaded = load_model(config, args.restore_step, device)
    control = wanted_prosody(args, loaded)
    vocoder = load_vocoder(loaded.config, device)
    print(f"{loaded}, {vocoder.name}")
    folder = args.output or Path(config.train.path.result_path) / loaded.label
    return Synthesizer(loaded, vocoder, device, control), folder


def prepare_single(args: argparse.Namespace, config: Config, samples: BinaryIO | None) -> Callable[[], None]:
    """Check the text and load what speaks it. `samples`: where a stream goes."""
    from synthesis.requests import in_every_emotion, print_words, safe_name, single_request

    name = None if args.name is None else safe_name(args.name)
    lexicon = config.preprocess.path.lexicon_path
    language = args.language or languages_of(config)[0]
    request = single_request(args.text, args.speaker_id, args.emotion_id, args.ref_audio, lexicon, name, language)
    request = replace(request, reference_peak=args.ref_peak or 1.0)
    synthesizer, folder = load(args, config)
    loaded = synthesizer.loaded
    spoken = languages_of(loaded.config)
    if language not in spoken:
        raise UserError(f"{loaded.path} was not trained on {language!r}; choose --language of: {', '.join(spoken)}")
    loaded.ids.speaker_id(request.speaker)
    request = replace(request, intensity=intensity_number(args, loaded))
    every = request.emotion == ALL_EMOTIONS
    if not every and request.emotion is not None:
        loaded.ids.emotion_id(request.emotion)
    for chunk in request.chunks:
        print_words(chunk.words)
    from synthesis.single import speak_files, stream

    if samples is not None:
        kept = folder if args.output is not None or args.name is not None else None
        return partial(stream, synthesizer, request, 1.0 / args.speed, samples, kept)
    requests = in_every_emotion(request, loaded.ids) if every else [request]
    picture = folder / f"{request.name}.png" if every else None
    return partial(speak_files, synthesizer, requests, 1.0 / args.speed, folder, picture)


def prepare_batch(args: argparse.Namespace, config: Config) -> Callable[[], None]:
    """Check the list and load what speaks it."""
    from synthesis.requests import batch_requests
    from utils.metadata import read_lines

    malformed: list[str] = []
    if not read_lines(args.source, malformed) and malformed:
        raise UserError(f"{malformed[0]} (and nothing else to speak; {len(malformed)} such lines)")
    tell_lines(malformed)  # before anything heavy is loaded
    problems: list[str] = []
    synthesizer, folder = load(args, config)
    loaded = synthesizer.loaded
    requests = batch_requests(
        args.source,
        loaded.ids,
        args.emotion_id,
        languages_of(loaded.config),
        loaded.config.model.intensities,
        intensity_number(args, loaded),
        problems,
    )
    if not requests:
        raise UserError(f"{problems[0]} (and nothing else to speak; {len(problems)} such lines)")
    tell_lines([problem for problem in problems if problem not in malformed])
    return partial(speak_batch, args, synthesizer, requests, folder, len(problems))


def tell_lines(problems: Sequence[str]) -> None:
    """One line each on standard error; the others of the list are spoken all the same."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)


def speak_batch(
    args: argparse.Namespace, synthesizer: Synthesizer, requests: Sequence[Request], folder: Path, left_out: int
) -> None:
    """Every request into its files; they are reported in their order. Raises UserError at the end if any was not
    spoken, or if lines were `left_out` before."""
    import torch
    from tqdm import tqdm

    from synthesis.batch import Failed, speak_all

    began, seconds, failed = time.perf_counter(), 0.0, 0
    threads = args.threads or (torch.get_num_threads() if synthesizer.device.type == "cpu" else GPU_THREADS)
    with tqdm(total=len(requests), unit="utterance", disable=None) as bar:
        written = speak_all(synthesizer, requests, folder, args.batch_size, threads, 1.0 / args.speed, bar.update)
        with closing(written):
            for result in written:
                if isinstance(result, Failed):
                    failed += 1
                    bar.write(f"error: {result.request.place}: {result.reason}", file=sys.stderr)
                    continue
                bar.write(f"wrote {result.path} (and .png, .json)")
                seconds += result.seconds
    took = time.perf_counter() - began
    spoken = len(requests) - failed
    print(
        f"wrote {spoken} utterances to {folder} (wav, png, json): {seconds:.0f} s of speech in {took:.1f} s, "
        f"{spoken / took:.1f} utterances/s"
    )
    if failed + left_out:
        raise UserError(
            f"{failed + left_out} of {len(requests) + left_out} lines of {args.source} were not spoken, as told above; "
            f"the others are in {folder}"
        )


if __name__ == "__main__":
    run(main)
