"""Validation losses of a checkpoint, and its figures per emotion and per speaker.

    python evaluate.py --dataset RAVDESS --restore_step latest
    python evaluate.py --dataset RAVDESS --restore_step 2000 --split train

True durations, no dropout, every utterance of the split. Writes report.json, report.md and the classifier's confusion
matrix as a picture to output/eval/<DATASET>/<step>/<split>/.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.cli import Parser, add_config_flags, restore_step, run

if TYPE_CHECKING:
    import torch

    from acoustic import LoadedModel


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    add_config_flags(parser)
    parser.add_argument(
        "--restore_step", required=True, type=restore_step, metavar="STEP", help='checkpoint, or "latest"'
    )
    parser.add_argument("--split", choices=["val", "train"], default="val", help="which utterances (default val)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: output/eval/<DATASET>/<step>/<split>")
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:N")
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
    report = evaluate(loaded, args.split, device)
    folder = args.output or Path("output/eval") / config.dataset / str(loaded.step) / args.split
    write_json(folder / "report.json", report)
    write_text(folder / "report.md", markdown(report))
    save_figure(confusion_figure(report), folder / "confusion.png")
    print(markdown(report))
    print(f"wrote {folder}/report.json, report.md, confusion.png")
    return 0


def evaluate(loaded: LoadedModel, split: str, device: torch.device) -> dict[str, Any]:
    """The report as plain data: losses, overall and grouped figures, confusion matrix, every utterance."""
    from dataclasses import asdict

    import torch

    from acoustic import uses_external_speakers
    from dataset import UtteranceDataset
    from evaluation.utterances import confusion, group_by, measure, summarise
    from model import LossCounts, TrainingLoss
    from training.state import Precision
    from training.validation import batches_by_length, predictions

    config = loaded.config
    preprocessing, loss_config = config.preprocess.preprocessing, config.train.loss
    root = Path(config.preprocess.path.preprocessed_path)
    dataset = UtteranceDataset(
        root, f"{split}.txt", loaded.ids, uses_external_speakers(config), aligned=config.model.alignment == "textgrid"
    )
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


if __name__ == "__main__":
    run(main)
