"""Speak text in a speaker's voice with an emotion, given by a label or by a reference recording.

    python synthesize.py --dataset RAVDESS --restore_step latest --mode single \\
        --text "Kids are talking by the door" --speaker_id Actor_01 --emotion_id happy
    python synthesize.py --dataset RAVDESS --restore_step 2000 --mode single \\
        --text "Dogs are sitting by the door" --speaker_id Actor_02 --ref_audio angry.wav
    python synthesize.py --dataset RAVDESS --restore_step latest --mode single \\
        --text "Kids are talking by the door" --speaker_id Actor_02 --emotion_id all
    python synthesize.py --dataset ESD_zh --restore_step latest --mode single --language zh \\
        --text "今天天气不错。" --speaker_id 0001 --emotion_id happy
    python synthesize.py --dataset RAVDESS --restore_step latest --mode batch --source preprocessed_data/RAVDESS/val.txt

Writes wav, mel spectrogram (png) and a json that says what made them to output/result/<DATASET>/<step>/. Any recording
serves as a reference, whatever its name, rate or channels. In batch mode each line has its own speaker and emotion;
lines without an emotion ("none-…") take that of --emotion_id.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError
from utils.cli import Parser, add_config_flags, positive_int, restore_step, run

if TYPE_CHECKING:
    from numpy import ndarray

    from acoustic import LoadedModel
    from config import Config
    from synthesis.requests import Request
    from synthesis.synthesizer import Synthesizer

ALL_EMOTIONS = "all"
SINGLE_FLAGS = ("text", "speaker_id", "emotion_id", "ref_audio", "ref_peak", "name", "language")


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    parser.add_argument(
        "--restore_step", required=True, type=restore_step, metavar="STEP", help='checkpoint, or "latest"'
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
        type=_peak,
        metavar="P",
        help="single: largest |sample|, 0 to 1, among the recordings of the reference's speaker; loudness is part of "
        "an emotion, and this tells what is loud for that speaker (default 1: the file's level is taken as it is)",
    )
    parser.add_argument("--name", help="single: name of the result files (default: made of speaker, emotion and text)")
    parser.add_argument("--source", type=Path, metavar="FILE", help="batch: lines of basename|speaker|{phones}|text")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: <result_path>/<step>")
    parser.add_argument("--speed", type=_speed, default=1.0, help="speaking rate, 0.25 to 4 (default 1)")
    parser.add_argument("--batch_size", type=positive_int, default=8, help="batch: utterances at once (default 8)")
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:N")
    return parser


def _speed(text: str) -> float:
    value = float(text)
    if not 0.25 <= value <= 4.0:
        raise argparse.ArgumentTypeError(f"must lie in 0.25 … 4, got {value:g}")
    return value


def _peak(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"must lie above 0 and at most at 1, got {value:g}")
    return value


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


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, load, speak."""
    args = build_parser().parse_args(argv)
    check_arguments(args)
    from config import load_config
    from text import check_languages

    config = load_config(args.dataset, args.overrides)
    check_languages([*([args.language] if args.language else []), *languages_of(config)])
    if args.mode == "single":
        speak_single(args, config)
    else:
        speak_batch(args, config)
    return 0


def languages_of(config: Config) -> list[str]:
    """Codes of what a dataset, or a model trained on it, speaks."""
    return config.preprocess.preprocessing.text.languages


def load(args: argparse.Namespace, config: Config) -> tuple[LoadedModel, Synthesizer, Path]:
    """Model, synthesizer and result folder."""
    from acoustic import load_model
    from synthesis.synthesizer import Synthesizer
    from utils.devices import choose_devices
    from vocoder import load_vocoder

    device = choose_devices(args.device)[0]
    loaded = load_model(config, args.restore_step, device)
    vocoder = load_vocoder(loaded.config, device)
    print(f"{loaded.path} (step {loaded.step}), {vocoder.name}")
    folder = args.output or Path(config.train.path.result_path) / str(loaded.step)
    return loaded, Synthesizer(loaded, vocoder, device), folder


def speak_single(args: argparse.Namespace, config: Config) -> None:
    """One text, one file; or one file per emotion and a picture of them all."""
    from synthesis.requests import in_every_emotion, print_words, safe_name, single_request
    from synthesis.results import write_result

    name = None if args.name is None else safe_name(args.name)
    lexicon = config.preprocess.path.lexicon_path
    language = args.language or languages_of(config)[0]
    request = single_request(args.text, args.speaker_id, args.emotion_id, args.ref_audio, lexicon, name, language)
    request = replace(request, reference_peak=args.ref_peak or 1.0)
    loaded, synthesizer, folder = load(args, config)
    spoken = languages_of(loaded.config)
    if language not in spoken:
        raise UserError(f"{loaded.path} was not trained on {language!r}; choose --language of: {', '.join(spoken)}")
    loaded.ids.speaker_id(request.speaker)
    every = request.emotion == ALL_EMOTIONS
    requests = in_every_emotion(request, loaded.ids) if every else [request]
    if not every and request.emotion is not None:
        loaded.ids.emotion_id(request.emotion)
    for chunk in request.chunks:
        print_words(chunk.words)
    panels = []
    for each in requests:
        speeches = synthesizer.speak(each, 1.0 / args.speed)
        path = write_result(synthesizer, each, speeches, folder)
        panels.append((f"{each.emotion}", speeches[0].mel))
        if each.emotion is None:
            strongest = sorted(speeches[0].emotion_weights.items(), key=lambda item: -item[1])[:3]
            print("emotion heard: " + ", ".join(f"{emotion} {weight:.2f}" for emotion, weight in strongest))
        print(f"wrote {path} (and .png, .json)")
    if every:
        print(f"wrote {draw_emotions(synthesizer, request, panels, folder)}")


def draw_emotions(synthesizer: Synthesizer, request: Request, panels: list[tuple[str, ndarray]], folder: Path) -> Path:
    """The first chunk's spectrograms of all emotions in one picture."""
    from utils.plot import mel_figure, save_figure

    hop = synthesizer.loaded.config.preprocess.preprocessing.stft.hop_length
    path = folder / f"{request.name}.png"
    save_figure(mel_figure(panels, hop / synthesizer.sampling_rate, columns=2, width=11.0), path)
    return path


def speak_batch(args: argparse.Namespace, config: Config) -> None:
    """A metadata file, `batch_size` lines at a time: memory does not grow with the file."""
    from tqdm import tqdm

    from synthesis.requests import batch_requests
    from synthesis.results import write_result
    from utils.metadata import read_metadata

    read_metadata(args.source)  # malformed lines are told before anything heavy is loaded
    loaded, synthesizer, folder = load(args, config)
    requests = batch_requests(args.source, loaded.ids, args.emotion_id, languages_of(loaded.config))
    with tqdm(total=len(requests), unit="utterance", disable=None) as bar:
        for start in range(0, len(requests), args.batch_size):
            group = requests[start : start + args.batch_size]
            speeches = synthesizer.speak_batch([(request, request.chunks[0]) for request in group], 1.0 / args.speed)
            for request, speech in zip(group, speeches, strict=True):
                write_result(synthesizer, request, [speech], folder)
                bar.update()
    print(f"wrote {len(requests)} utterances to {folder} (wav, png, json)")


if __name__ == "__main__":
    run(main)
