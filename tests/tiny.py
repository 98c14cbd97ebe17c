"""A preprocessed data set of a few seconds, so that tests can train for real: 2 speakers x 4 emotions x 4 takes."""

from pathlib import Path

import numpy as np

from utils.metadata import Entry, IdMaps, write_metadata

SPEAKERS = ("Actor_01", "Actor_02")
EMOTIONS = ("angry", "calm", "happy", "sad")
SENTENCES = {
    "01": ("Kids are talking", "K IH1 D Z AA1 R T AO1 K IH0 NG"),
    "02": ("Dogs are sitting by the door", "D AO1 G Z AA1 R S IH1 T IH0 NG sp B AY1 DH AH0 D AO1 R"),
}


def make_tiny_dataset(root: Path) -> Path:
    """Write features and metadata as preprocess.py would. A phone is a band pattern, an emotion a level and a width."""
    noise = np.random.default_rng(7)
    entries = []
    for speaker_index, speaker in enumerate(SPEAKERS):
        for emotion_index, emotion in enumerate(EMOTIONS):
            for statement, (text, phones) in SENTENCES.items():
                for take in ("01", "02"):
                    intensity = "strong" if take == "02" and emotion != "calm" else "normal"
                    name = f"{emotion}-{intensity}-{statement}-{take}-{speaker}"
                    entry = Entry(name, speaker, tuple(phones.split()), text)
                    durations = noise.integers(2, 8 + emotion_index, len(entry.phones))
                    centres = np.array([sum(map(ord, phone)) % 60 + 4 * speaker_index for phone in entry.phones])
                    bands = np.arange(80)[None, :] - np.repeat(centres, durations)[:, None]
                    mel = emotion_index - 6.0 + 4.0 * np.exp(-((bands / (6.0 + emotion_index)) ** 2))
                    save(root / "mel" / f"{speaker}-mel-{entry.name}.npy", mel.astype(np.float32))
                    # vowels, which have a stress digit, are voiced
                    hertz = [120.0 * 1.3**emotion_index * phone[-1].isdigit() for phone in entry.phones]
                    pitch = np.repeat(hertz, durations).astype(np.float32)
                    save(root / "pitch" / f"{speaker}-pitch-{entry.name}.npy", pitch)
                    save(root / "duration" / f"{speaker}-duration-{entry.name}.npy", durations.astype(np.int64))
                    entries.append(entry)
    write_metadata(root / "train.txt", entries[1::4] + entries[2::4] + entries[3::4])
    write_metadata(root / "val.txt", entries[0::4])
    IdMaps.of(SPEAKERS, EMOTIONS).save(root)
    return root


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def tiny_overrides(root: Path, output: Path) -> list[str]:
    """`--set` values that point every path below a temporary folder and keep things small."""
    return [
        f"preprocess.path.preprocessed_path={root}",
        *(f"train.path.{kind}_path={output / kind}" for kind in ("ckpt", "log", "result")),
        "train.optimizer.batch_size=8",
        "train.optimizer.warm_up_step=20",
        "train.num_workers=0",
        "train.step.log_step=2",
        "train.step.val_step=1000",
        "train.step.synth_step=1000",
        "train.step.save_step=4",
        "model.vocoder.griffin_lim_iterations=2",
        "model.vocoder.model=Griffin-Lim",
    ]
