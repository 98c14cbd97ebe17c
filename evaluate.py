"""Objective evaluation of a checkpoint: losses, and its speech beside real recordings.

    python evaluate.py --dataset RAVDESS --restore_step latest
    python evaluate.py --dataset RAVDESS --restore_step latest --limit 24 --save_audio      # a quick look, to be heard
    python evaluate.py --dataset RAVDESS --restore_step 2000 --split train --losses_only

Recordings, copies of them through the vocoder, and the model's speech (durations true or predicted; emotion by label,
or heard in a recording) are compared: distortion, pitch, voicing, energy, durations, speaker similarity, emotion and
word accuracy, per emotion, speaker, intensity, sex and pitch, with bootstrap intervals. Losses: true durations, no
dropout. Writes report.json, report.md and pictures to output/eval/<DATASET>/<step>/<split>/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.cli import (
    Parser,
    add_checkpoint_flag,
    add_config_flags,
    add_device_flag,
    available_cpus,
    positive_int,
    progress_interval,
    run,
)

if TYPE_CHECKING:
    import argparse

    import torch

    from acoustic import LoadedModel
    from config import Config
    from dataset import UtteranceDataset
    from evaluation.world import FrontEnd


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    add_checkpoint_flag(parser)
    parser.add_argument("--split", choices=["val", "train"], default="val", help="which utterances (default val)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: output/eval/<DATASET>/<step>/<split>")
    parser.add_argument("--losses_only", action="store_true", help="no comparison with recordings")
    parser.add_argument(
        "--limit",
        type=positive_int,
        metavar="N",
        help="compare N utterances: all emotions, speakers as evenly as can be",
    )
    parser.add_argument("--griffin_lim", action="store_true", help="also copy the recordings through Griffin-Lim")
    parser.add_argument(
        "--pitch",
        choices=["dio", "harvest"],
        default="dio",
        help="how pitch is found; harvest is surer of what is voiced, and ten times slower (default dio)",
    )
    parser.add_argument(
        "--judges",
        nargs="+",
        choices=["whisper", "emotion2vec", "utmos"],
        default=[],
        help="also ask these, if installed; they fetch weights of their own",
    )
    parser.add_argument("--save_audio", action="store_true", help="write what every system says to audio/")
    parser.add_argument(
        "--jobs",
        type=positive_int,
        default=available_cpus(),
        metavar="N",
        help="processes that measure (default: all %(default)s)",
    )
    add_device_flag(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, measure, write, print."""
    args = build_parser().parse_args(argv)
    from acoustic import load_model
    from config import load_config
    from evaluation.report import confusion_figure, markdown
    from utils.devices import choose_devices
    from utils.files import write_json, write_text
    from utils.plot import save_figure

    config = load_config(args.dataset, args.overrides)
    device = choose_devices(args.device)[0]
    loaded = load_model(config, args.restore_step, device)
    folder = args.output or Path("output/eval") / config.dataset / str(loaded.step) / args.split
    report = evaluate(loaded, args.split, device)
    if not args.losses_only:
        report |= compare(args, loaded, folder, device)
    write_text(folder / "report.md", markdown(report))
    pictures = {"confusion.png": confusion_figure(report)}
    if report.get("comparison") is not None:
        from evaluation.figures import figures

        pictures |= figures(report["comparison"])
    for name, picture in pictures.items():
        save_figure(picture, folder / name)
    write_json(folder / "report.json", report)  # last: where it is, all is
    print(markdown(report))
    print(f"wrote {folder}/report.json, report.md, {', '.join(pictures)}")
    return 0


def dataset_of(loaded: LoadedModel, split: str) -> UtteranceDataset:
    """The utterances of one split."""
    from dataset import open_dataset

    return open_dataset(loaded.config, f"{split}.txt", loaded.ids)


def compare(args: argparse.Namespace, loaded: LoadedModel, folder: Path, device: torch.device) -> dict[str, Any]:
    """The comparison of systems for the report; where there is no recording, why not."""
    from evaluation.comparison import Inputs, compare_systems
    from evaluation.corpus import Place
    from evaluation.measure import usable
    from evaluation.outside_judges import JUDGES
    from evaluation.systems import Systems, stratified
    from preprocessor.facts import read_facts
    from utils.metadata import read_metadata, read_sexes
    from vocoder import load_vocoder

    paths = loaded.config.preprocess.path
    raw, features = Path(paths.raw_path), Path(paths.preprocessed_path)
    dataset = dataset_of(loaded, args.split)
    with_recording = usable(dataset.entries, raw)
    if not with_recording:
        reason = f"{raw} holds no recording of {features / args.split}.txt; run prepare_align.py to compare"
        print(f"only losses: {reason}")
        return {"comparison": None, "not_compared": reason}
    outside = [JUDGES[name](str(device)) for name in dict.fromkeys(args.judges)]
    places = {entry.key: index for index, entry in enumerate(dataset.entries)}
    chosen = stratified(with_recording, args.limit or len(with_recording))
    train = read_metadata(features / "train.txt")
    everything = [*train, *(read_metadata(features / "val.txt") if (features / "val.txt").is_file() else [])]
    vocoders = {"copy": load_vocoder(loaded.config, device)}
    if args.griffin_lim:
        vocoders["griffin_lim"] = load_vocoder(with_griffin_lim(loaded.config), device)
    cache = (args.output or Path("output/eval")) / f"{loaded.config.dataset}-recordings.npz"
    place = Place(raw, features, front_end(loaded.config, args.pitch), cache)
    inputs = Inputs(
        systems=Systems(loaded, dataset, train, vocoders),
        chosen=[places[entry.key] for entry in chosen],
        everything=everything,
        place=place,
        facts=read_facts(raw),
        sexes=read_sexes(features / "speaker-info.txt"),
        jobs=args.jobs,
        audio=folder / "audio" if args.save_audio else None,
        outside=outside,
    )
    with progress_bars() as progress:
        compared = compare_systems(inputs, progress)
    return {"vocoder": vocoders["copy"].name, "comparison": compared}


def evaluate(loaded: LoadedModel, split: str, device: torch.device) -> dict[str, Any]:
    """The report as plain data: losses, overall and grouped figures, confusion matrix, every utterance."""
    from dataclasses import asdict

    import torch

    from evaluation.utterances import confusion, group_by, measure, summarise
    from model import LossCounts, TrainingLoss
    from training.state import Precision
    from training.validation import batches_by_length, predictions

    config = loaded.config
    preprocessing, loss_config = config.preprocess.preprocessing, config.train.loss
    dataset = dataset_of(loaded, split)
    loss = TrainingLoss(
        loss_config.alpha,
        loss_config.beta,
        loss_config.mel_normalization,
        loss_config.emotion,
        loss_config.gamma,
        loss_config.delta,
    )
    milliseconds = 1000.0 * preprocessing.stft.hop_length / preprocessing.audio.sampling_rate
    utterances, sums, counts = [], [], []
    loader = batches_by_length(dataset, config.train.optimizer.batch_size)
    for batch, output in predictions(loaded.model, loader, Precision(torch.float32), device):
        sums.append(loss.sums(output, batch.mels, output.durations, batch.emotions))
        counts.append(LossCounts.of(batch.mel_lengths, batch.phone_lengths, batch.emotions).stacked())
        utterances += measure(batch, output, loaded.ids, milliseconds)
    total = sums[0]
    for part in sums[1:]:
        total = total + part
    losses = loss.combine(total, LossCounts.from_stacked(torch.stack(counts).sum(0)))
    emotions = sorted(loaded.ids.emotions, key=lambda name: loaded.ids.emotions[name])
    return {
        "dataset": config.dataset,
        "split": split,
        "checkpoint": str(loaded.path),
        "step": loaded.step,
        "losses": {name: round(float(value), 6) for name, value in losses.named().items()},
        "overall": asdict(summarise(utterances)),
        "emotions": {name: asdict(group) for name, group in group_by(utterances, lambda u: u.emotion).items()},
        "speakers": {name: asdict(group) for name, group in group_by(utterances, lambda u: u.speaker).items()},
        "confusion": {"emotions": emotions, "counts": confusion(utterances, emotions)},
        "utterances": [asdict(utterance) for utterance in sorted(utterances, key=lambda u: u.name)],
    }


def front_end(config: Config, pitch: str) -> FrontEnd:
    """The mel analysis of a configuration, and how pitch is to be found."""
    from evaluation.world import FrontEnd

    values = config.preprocess.preprocessing
    stft, mel = values.stft, values.mel
    lengths = (stft.filter_length, stft.hop_length, stft.win_length)
    return FrontEnd(values.audio.sampling_rate, *lengths, mel.n_mel_channels, mel.mel_fmin, mel.mel_fmax, pitch)


def with_griffin_lim(config: Config) -> Config:
    """The same with that vocoder."""
    vocoder = config.model.vocoder.model_copy(update={"model": "Griffin-Lim"})
    return config.model_copy(update={"model": config.model.model_copy(update={"vocoder": vocoder})})


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int], Callable[[int], Any]]]:
    """What makes a progress bar of a name and a total, one after the other."""
    from tqdm import tqdm

    with ExitStack() as stack:

        def bar(name: str, total: int) -> Callable[[int], Any]:
            made = stack.enter_context(
                tqdm(total=total, desc=name, unit="utterance", disable=None, mininterval=progress_interval())
            )
            return made.update

        yield bar


if __name__ == "__main__":
    run(main)
