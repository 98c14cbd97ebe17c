"""What the measured scripts and models work on: recordings, features, a checkpoint, vocoders.

Recordings are RAVDESS's where RAVDESS_DATA_DIR has them (with their TextGrids), else those of make_sample_corpus.py.
Weights are random: how fast they compute does not depend on what they say.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import Bench, Settings
from benchmarks.timing import ROOT, run_script

if TYPE_CHECKING:
    import torch

    from model import AcousticModel

DATA_DIR = Path(os.environ.get("RAVDESS_DATA_DIR", ROOT.parent / "shared" / "data"))
TEXT = "Kids are talking by the door"
FRAMES_PER_PHONE = 7  # what the random model is made to predict; RAVDESS's median
ACTORS = 24  # that RAVDESS's names allow
QUICK_ACTORS, QUICK_FILES = 2, 8  # speakers, recordings of each


@dataclass(frozen=True)
class Recording:
    """One recording in RAVDESS's form, and its alignment."""

    path: Path
    textgrid: Path | None  # None: still to be aligned

    @property
    def actor(self) -> str:
        """Two digits."""
        return self.path.stem[-2:]

    def name(self, actor: str) -> str:
        """The utterance's name as prepare_align.py gives it, were `actor` the speaker."""
        from preprocessor.corpora.ravdess import EMOTIONS, INTENSITIES

        emotion, intensity, statement, repetition = self.path.stem.split("-")[2:6]
        return f"{EMOTIONS[emotion]}-{INTENSITIES[intensity]}-{statement}-{repetition}-Actor_{actor}"


def real_data() -> bool:
    """Whether RAVDESS itself is at hand."""
    return (DATA_DIR / "RAVDESS").is_dir() and (DATA_DIR / "TextGrid").is_dir()


def described(settings: Settings) -> str:
    """The data, in words."""
    what = "RAVDESS" if real_data() else "the generated sample corpus, no real recordings"
    return f"{what}; only {QUICK_ACTORS * QUICK_FILES} recordings" if settings.quick else what


def recordings(settings: Settings) -> list[Recording]:
    """All recordings of this run, by name; a few of each of two speakers for a quick look."""
    folder = DATA_DIR / "RAVDESS" if real_data() else settings.work / "Sample"
    found = []
    for path in sorted(path for path in folder.glob("Actor_*/*") if path.suffix in (".wav", ".flac")):
        recording = Recording(path, None)
        if real_data():
            textgrid = DATA_DIR / "TextGrid" / path.parent.name / f"{recording.name(recording.actor)}.TextGrid"
            recording = replace(recording, textgrid=textgrid if textgrid.is_file() else None)
        found.append(recording)
    if settings.quick:
        actors = sorted({recording.actor for recording in found})[:QUICK_ACTORS]
        found = [
            each for actor in actors for each in [one for one in found if one.actor == actor][:: 60 // QUICK_FILES]
        ]
    return found


def link_corpus(chosen: Iterable[Recording], folder: Path, textgrids: Path | None = None, copies: int = 1) -> int:
    """A corpus of links to recordings, each also under `copies` - 1 new speakers' names; returns their number.

    `textgrids` gets links to the alignments. New speakers count on from the old ones' numbers.
    """
    chosen = list(chosen)
    actors = sorted({recording.actor for recording in chosen})
    assert len(actors) * copies <= ACTORS
    files = 0
    for copy in range(copies):
        for recording in chosen:
            actor = recording.actor
            if copies > 1:
                actor = f"{copy * len(actors) + actors.index(recording.actor) + 1:02d}"
            link(
                recording.path, folder / f"Actor_{actor}" / f"{recording.path.stem[:-2]}{actor}{recording.path.suffix}"
            )
            if textgrids is not None and recording.textgrid is not None:
                link(recording.textgrid, textgrids / f"Actor_{actor}" / f"{recording.name(actor)}.TextGrid")
            files += 1
    return files


def link(source: Path, target: Path) -> None:
    """A symbolic link, its folder made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())


def make_corpus(bench: Bench) -> None:
    """work/corpus, and work/features/TextGrid where there are alignments."""
    settings = bench.settings
    if not real_data():
        run_script("make_sample_corpus.py", "--output", settings.work / "Sample")
    link_corpus(recordings(settings), settings.work / "corpus", settings.work / "features" / "TextGrid")


def make_features(bench: Bench) -> None:
    """work/raw and work/features, by the scripts themselves."""
    settings = bench.settings
    run_script("prepare_align.py", *settings.dataset_flags)
    if not real_data():
        run_script("align.py", *settings.dataset_flags)
    held_out = "preprocess.preprocessing.val_size=" + ("4" if settings.quick else "32")
    pitch = "model.prosody.layer=2"  # for our own model; the original's has no use for it
    run_script("preprocess.py", *settings.dataset_flags, "--set", held_out, "--set", pitch)


def make_voice(bench: Bench) -> None:
    """work/ckpt/1.pth.tar, work/batch.txt, and a checkpoint of every vocoder below work/vocoders."""
    import torch

    from acoustic import new_model
    from preprocessor.corpora.ravdess import EMOTIONS
    from text import symbol_table
    from utils.checkpoint import Checkpoint, write_checkpoint
    from utils.metadata import IdMaps

    settings = bench.settings
    config = settings.config()
    torch.manual_seed(0)
    ids = IdMaps.of([f"Actor_{actor:02d}" for actor in range(1, ACTORS + 1)], EMOTIONS.values())
    model = new_model(config, ids)
    speak_steadily(model)
    write_checkpoint(
        settings.work / "ckpt",
        Checkpoint(
            step=1,
            model=model.state_dict(),
            optimizer={},
            config=config.to_dict(),
            speakers=ids.speakers,
            emotions=ids.emotions,
            symbols=symbol_table(config.preprocess.preprocessing.text.languages),
        ),
    )
    write_vocoders(settings.work / "vocoders")
    write_batch(settings.work / "batch.txt", 16 if settings.quick else 64)


def speak_steadily(model: AcousticModel) -> None:
    """Make a model with random weights predict FRAMES_PER_PHONE for every phone."""
    import math

    import torch

    predictor = model.duration_predictor
    parameters = dict(predictor.lconv_blocks[-1].named_parameters())
    with torch.no_grad():
        parameters["norm.weight"].zero_()
        parameters["norm.bias"].fill_(1.0)
        predictor.output.weight.fill_(math.log(FRAMES_PER_PHONE + 1) / predictor.output.weight.shape[1])


def write_vocoders(folder: Path) -> None:
    """Generators with random weights, as their authors' checkpoints: {V1, V2, V3, MelGAN, Fourier}.pt."""
    import json

    import torch

    import fourier
    import hifigan
    import melgan

    folder.mkdir(parents=True, exist_ok=True)
    generators: dict[str, torch.nn.Module] = {
        name: hifigan.Generator(architecture) for name, architecture in hifigan.VERSIONS.items()
    }
    generators["MelGAN"] = melgan.Generator()
    architecture = fourier.VERSIONS["fourier"]
    generators["Fourier"] = fourier.Generator(architecture)
    (folder / "Fourier.json").write_text(json.dumps(architecture.to_json()), encoding="utf-8")
    for name, generator in generators.items():
        torch.save({"generator": generator.state_dict()}, folder / f"{name}.pt")


def write_batch(path: Path, lines: int) -> None:
    """A list for synthesize.py's batch mode: sentences of one to three times TEXT, speakers and emotions in turn."""
    from preprocessor.corpora.ravdess import EMOTIONS
    from text.languages import get_g2p
    from utils.metadata import Entry, write_metadata

    words = get_g2p("en")(TEXT)
    phones = tuple(phone for word in words for phone in word.phones)
    emotions = list(EMOTIONS.values())
    entries = []
    for line in range(lines):
        speaker, times = f"Actor_{line % ACTORS + 1:02d}", line % 3 + 1
        name = f"{emotions[line % len(emotions)]}-normal-01-{line:02d}-{speaker}"
        entries.append(Entry(name, speaker, phones * times, " ".join([TEXT] * times)))
    write_metadata(path, entries)
