"""Pronunciations and weights: what the configuration names is read, as the scripts would."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from config import Config
from preflight.findings import NOTE, OK, PROBLEM, Finding

BLOCK = 2**20  # bytes read at once


def check_pronunciations(config: Config) -> Iterator[Finding]:
    """The user's lexicon, and the dictionaries of each language."""
    from text import get_g2p

    languages, lexicon = config.preprocess.preprocessing.text.languages, config.preprocess.path.lexicon_path
    for language in languages:
        get_g2p(language, lexicon)
    own = f"{lexicon} first" if lexicon else "none of your own"
    yield Finding(OK, "lexicon", f"{own}, then the dictionary of {', '.join(languages)}")


def check_shipped(config: Config) -> Iterator[Finding]:
    """Every file of pretrained/<DATASET> against its SHA-256."""
    from utils.shipped import ACOUSTIC, REMEDY, read_shipped, shipped_folder
    from utils.weights import SUMS

    folder = shipped_folder(config)
    if not (folder / ACOUSTIC).exists() and not (folder / SUMS).exists():
        yield Finding(NOTE, "weights that ship", f"none for {config.dataset} in {folder}: only your own will speak")
        return
    wrong = _unlike_their_sums(folder / SUMS)
    if wrong:
        yield Finding(PROBLEM, "weights that ship", f"missing or damaged in {folder}: {', '.join(wrong)}", REMEDY)
        return
    yield Finding(OK, "weights that ship", f"{folder}, step {read_shipped(folder).step}; all files as in {SUMS}")


def _unlike_their_sums(sums: Path) -> list[str]:
    """Files that are not there or are others than the list says."""
    if not sums.is_file():
        return [sums.name]
    wrong = []
    for line in sums.read_text(encoding="utf-8").splitlines():
        wanted, _, name = line.partition("  ")
        path = sums.parent / name
        if not path.is_file() or _digest(path) != wanted:
            wrong.append(name)
    return wrong


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_vocoder(config: Config) -> Iterator[Finding]:
    """Load it as synthesize.py does."""
    import torch

    from vocoder import load_vocoder

    name = load_vocoder(config, torch.device("cpu")).name
    if config.model.vocoder.model == "auto" and name.startswith("Griffin-Lim"):
        how = "for clearer speech: python train_vocoder.py, or HiFi-GAN's published weights (README.md, Vocoder)"
        yield Finding(NOTE, "vocoder", f"{name}, since no weights are at hand", how)
    else:
        yield Finding(OK, "vocoder", name)


def check_embedder(config: Config) -> Iterator[Finding]:
    """The speaker encoder, where one is configured."""
    settings = config.preprocess.preprocessing
    if settings.speaker_embedder == "none":
        yield Finding(OK, "speaker embedder", "none is configured (a lookup table instead)")
        return
    from deepspeaker import PUBLISHED_WEIGHTS, SpeakerEmbedder

    path = Path(settings.speaker_embedder_checkpoint or PUBLISHED_WEIGHTS)
    SpeakerEmbedder.from_keras(path)
    yield Finding(OK, "speaker embedder", f"{settings.speaker_embedder}, {path}")


def check_runs(config: Config) -> Iterator[Finding]:
    """Checkpoints of the user's own, and whether somebody is at work in the folders."""
    from errors import UserError
    from utils.checkpoint import known_steps
    from utils.lock import refuse_if_used

    folder = Path(config.train.path.ckpt_path)
    steps = known_steps(folder)
    text = f"{len(steps)} in {folder}, the latest of step {steps[-1]:,}" if steps else f"none in {folder} yet"
    yield Finding(OK, "checkpoints", text)
    paths = config.preprocess.path
    for place in (paths.raw_path, paths.preprocessed_path, folder):
        try:
            refuse_if_used(Path(place))
        except UserError as error:
            yield Finding(NOTE, "at work", str(error))
