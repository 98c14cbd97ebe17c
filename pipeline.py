"""The whole pipeline, from recordings to emotional speech, in a few minutes.

    python pipeline.py                            # a small generated corpus (data/Sample)
    python pipeline.py --corpus /path/to/RAVDESS  # the real one: the folder that holds Actor_01, Actor_02, …

prepare_align -> align -> preprocess -> a short training -> synthesize, by label and by reference. What is finished
already is not done again. This is a demonstration of the path, not of the quality that longer training reaches.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from utils.cli import Parser, positive_int, run
from utils.stages import stage

TEXT = "Kids are talking by the door"
STEPS = {"Sample": 1000, "RAVDESS": 800}  # some minutes of training


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(__doc__)
    parser.add_argument("--corpus", metavar="DIR", help="RAVDESS's folder; without it a sample corpus is generated")
    known = ", ".join(f"{steps} for {dataset}" for dataset, steps in STEPS.items())
    parser.add_argument("--steps", type=positive_int, help=f"training steps (default: {known})")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run every stage; stop at the first that fails, with its exit code."""
    args = build_parser().parse_args(argv)
    dataset = "RAVDESS" if args.corpus else "Sample"
    # a folder of its own: this short training must not stand in the way of a real one
    settings = [
        f"train.path.ckpt_path=output/pipeline/ckpt/{dataset}",
        f"train.path.log_path=output/pipeline/log/{dataset}",
        f"train.path.result_path=output/pipeline/result/{dataset}",
    ]
    begin = time.monotonic()
    if args.corpus:
        settings.append(f"preprocess.path.corpus_path={Path(args.corpus).resolve()}")
    else:
        stage("a corpus of generated speech", ["make_sample_corpus.py"])
    common = ["--dataset", dataset, *(part for setting in settings for part in ("--set", setting))]
    stage("recordings to 22,050 Hz", ["prepare_align.py", *common])
    stage("forced alignment", ["align.py", *common])
    stage("features", ["preprocess.py", *common])
    train(args.steps or STEPS[dataset], dataset, common)
    results = speak(dataset, common)
    print(
        f"\nDone in {time.monotonic() - begin:.0f} s. Listen: {results}/*.wav\n"
        f"Look: {results}/by_label.png (one sentence in every emotion)\n"
        f"Next: train longer with python train.py --dataset {dataset}, or read README.md about data and options"
    )
    return 0


def train(steps: int, dataset: str, common: list[str]) -> None:
    """A short training: a fast warm-up, no samples in between. An interrupted one goes on where it was."""
    from utils.checkpoint import known_steps

    settings = {"total_step": steps, "log_step": 20, "val_step": 100, "synth_step": steps, "save_step": 100}
    short = [part for key, value in settings.items() for part in ("--set", f"train.step.{key}={value}")]
    short += ["--set", "train.optimizer.warm_up_step=200"]
    begun = known_steps(Path(f"output/pipeline/ckpt/{dataset}"))
    resume = ["--restore_step", "latest"] if begun else []
    stage(f"training, {steps} steps", ["train.py", *common, *short, *resume])


def speak(dataset: str, common: list[str]) -> str:
    """Every emotion by label, and one taken from a recording; returns the result folder."""
    from utils.metadata import read_metadata

    entries = read_metadata(Path(f"preprocessed_data/{dataset}/val.txt"))
    reference = next((entry for entry in entries if entry.emotion == "angry"), entries[0])
    others = [entry.speaker for entry in entries if entry.speaker != reference.speaker]
    speaker = min(others, default=reference.speaker)
    results = f"output/pipeline/result/{dataset}"
    single = ["synthesize.py", *common, "--restore_step", "latest", "--mode", "single", "--text", TEXT]
    single += ["--speaker_id", speaker, "--output", results]
    stage(f"{speaker} speaks, emotion by label", [*single, "--emotion_id", "all", "--name", "by_label"])
    wav = f"raw_data/{dataset}/{reference.speaker}/{reference.name}.wav"
    stage(f"{speaker} speaks, emotion from {reference.name}", [*single, "--ref_audio", wav, "--name", "by_reference"])
    return results


if __name__ == "__main__":
    run(main)
