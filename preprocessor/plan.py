"""What preprocess.py is going to do, checked as far as that is possible without reading a recording."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from config.schema import PreprocessConfig
from errors import UserError
from preprocessor.features import FeatureSettings, Places
from preprocessor.prepare_manifest import Settings, refuse_other_settings
from preprocessor.sources import Source, list_sources
from preprocessor.split import Chooser, read_given
from utils.files import read_json
from utils.metadata import emotion_of

VERSION = 1  # of what features are made from the same files; another number makes all of them again


@dataclass(frozen=True)
class Plan:
    """The work of one run."""

    config: PreprocessConfig
    places: Places
    settings: FeatureSettings
    digest: str  # of the settings and of all files that concern every utterance
    count: int  # utterances that there may be
    given: Sequence[str] | None  # names of a given val.txt; None: split as configured

    @property
    def output(self) -> Path:
        """preprocessed_path."""
        return self.places.output

    def language(self, source: Source) -> str:
        """The code of what an utterance speaks."""
        return source.facts.language or self.config.preprocessing.text.languages[0]

    def chooser(self) -> Chooser:
        """A new one."""
        values = self.config.preprocessing
        return Chooser(values.split, values.val_size, self.given, self.output / "val.txt")


def plan(config: PreprocessConfig, textgrids: Path | None, pitched: bool = False) -> Plan:
    """List the work. UserError when recordings or TextGrids are missing altogether or the split cannot be made.

    textgrids: their folder; None: the alignment is learned in training, phones come from the texts. pitched: whether
    the fundamental frequency is wanted.
    """
    places = Places(
        Path(config.path.raw_path),
        textgrids or Path(config.path.preprocessed_path),
        Path(config.path.preprocessed_path),
    )
    settings = _settings(config, aligned=textgrids is not None, pitched=pitched)
    given = given_names(places.output)
    made = Plan(config, places, settings, _digest(settings, places, config), 0, given)
    audio = config.preprocessing.audio
    made_with = Settings(audio.sampling_rate, audio.normalization, audio.max_wav_value)
    refuse_other_settings(places.raw, made_with, config.dataset)
    count = _look_through(made)
    if settings.embedder_weights is not None:
        from deepspeaker import SpeakerEmbedder

        SpeakerEmbedder.from_keras(settings.embedder_weights)
    return Plan(config, places, settings, made.digest, count, given)


def _look_through(made: Plan) -> int:
    """Number of utterances; UserError for what is wrong with all of them."""
    count, labelled, aligned = 0, False, not made.settings.aligned
    first: Source | None = None
    chooser = made.chooser()
    for source in list_sources(made.places.raw):
        first = first or source
        count += 1
        _refuse_other_language(source, made)
        labelled = labelled or emotion_of(source.name) is not None
        aligned = aligned or (made.places.textgrids / source.speaker / f"{source.name}.TextGrid").is_file()
        chooser.see(source.key, source.facts)
    if first is None:
        raise UserError(
            f"no recordings in {made.places.raw}; run python prepare_align.py --dataset {made.config.dataset}"
        )
    if not labelled:
        refuse_without_labels(made.places.raw)
    if not aligned:
        raise UserError(
            f"no TextGrids in {made.places.textgrids} (for example {first.speaker}/{first.name}.TextGrid); "
            f"run python align.py --dataset {made.config.dataset}, copy TextGrids there, name their folder by "
            "--textgrids, or let training align (--set model.alignment=learned)"
        )
    chooser.choose()  # fails now rather than after the work
    return count


def _settings(config: PreprocessConfig, aligned: bool, pitched: bool) -> FeatureSettings:
    values = config.preprocessing
    weights: Path | None = None
    if values.speaker_embedder == "DeepSpeaker":
        from deepspeaker import PUBLISHED_WEIGHTS

        weights = Path(values.speaker_embedder_checkpoint or PUBLISHED_WEIGHTS)
    return FeatureSettings(
        sampling_rate=values.audio.sampling_rate,
        filter_length=values.stft.filter_length,
        hop_length=values.stft.hop_length,
        win_length=values.stft.win_length,
        n_mels=values.mel.n_mel_channels,
        fmin=values.mel.mel_fmin,
        fmax=values.mel.mel_fmax,
        embedder_weights=weights,
        aligned=aligned,
        lexicon_path=config.path.lexicon_path,
        pitched=pitched,
    )


def _digest(settings: FeatureSettings, places: Places, config: PreprocessConfig) -> str:
    """Of what all features depend on. The folders are in it: a file of the same size and time elsewhere may be
    another one."""
    files = [settings.embedder_weights]
    if settings.lexicon_path is not None and not settings.aligned:
        files += [
            Path(settings.lexicon_path.replace("{language}", code)) for code in config.preprocessing.text.languages
        ]
    stamps = [
        [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns]
        for path in files
        if path is not None and path.is_file()
    ]
    folders = [str(places.raw.resolve()), str(places.textgrids.resolve())]
    values = {**asdict(settings), "embedder_weights": str(settings.embedder_weights)}
    content = json.dumps([VERSION, values, folders, stamps], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _refuse_other_language(source: Source, made: Plan) -> None:
    languages = made.config.preprocessing.text.languages
    language = made.language(source)
    if language not in languages:
        raise UserError(
            f"{made.places.raw / source.speaker / source.name}.wav is in {language}, but "
            f"preprocess.preprocessing.text.languages are {', '.join(languages)}; add {language} there, or leave such "
            "recordings out of the corpus"
        )


def refuse_without_labels(place: Path) -> None:
    """Emotion tokens are learned from labels; unlabelled utterances join in, but can't be all there is."""
    raise UserError(
        f"{place}: no utterance that can be used has an emotion label; join a corpus with labels "
        "(preprocess.datasets), or give these one (preprocess.emotion_map={none: neutral}) and run "
        "prepare_align.py again"
    )


def given_names(output: Path) -> list[str] | None:
    """Names of a val.txt that the user gave; None when there is none, or it is our own and made by the configuration.

    A given val.txt is written anew with our phones and without utterances that cannot be used now; stats.json keeps
    all the names that it came with, so that a later run, in which they may be usable, still respects them.
    """
    path = output / "val.txt"
    if not path.exists():
        return None
    if (output / "stats.json").is_file():
        stats = read_json(output / "stats.json", "preprocess.py (remove the file first)")
        split = stats.get("split", {}) if isinstance(stats, dict) else {}
        if isinstance(split, dict) and split.get("val_sha256") == digest_of(path):
            names = split.get("given_val")
            if names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names)):
                return names
    return read_given(path)


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
