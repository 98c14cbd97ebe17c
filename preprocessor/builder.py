"""raw_data and TextGrids -> everything that training reads: the order of events and the files that bind it together.

train.txt is removed before the first feature is written and is the last file to appear: where it stands, all that it
names is there and of one making.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config.schema import PreprocessConfig
from errors import UserError
from preprocessor.embedding_plot import plot_speakers
from preprocessor.facts import NOTHING, Facts, read_facts
from preprocessor.features import (
    PRELOAD,
    Features,
    FeatureSettings,
    Skipped,
    Task,
    build_features,
    duration_path,
    mel_path,
)
from preprocessor.outputs import make_folder, remove_temporaries, write_array
from preprocessor.parallel import ordered_map
from preprocessor.prepare import Settings, refuse_other_settings
from preprocessor.split import Key, choose, choose_given, find_given, read_given
from preprocessor.statistics import statistics
from utils.files import read_json, write_json, write_text
from utils.metadata import IdMaps, emotion_of, write_metadata

FOLDERS = ("mel", "duration", "spker_embed")


@dataclass(frozen=True)
class Plan:
    """What a run will do, all of it checked that can be checked without reading a recording."""

    config: PreprocessConfig
    facts: Mapping[Key, Facts]  # what the corpus says of its utterances, as far as prepare_align.py was there
    output: Path
    tasks: Sequence[Task]  # sorted by speaker, then name
    given: Sequence[str] | None  # names of a given val.txt; None: split as configured


@dataclass(frozen=True)
class Summary:
    """What a run did."""

    kept: int
    seconds: float  # of aligned speech
    train: int
    val: int
    longest: Features
    skipped: Sequence[Skipped]
    given: bool  # val.txt was given
    given_missing: Sequence[str]  # names in the given val.txt that are not among the kept utterances


def plan(config: PreprocessConfig, textgrids: Path | None) -> Plan:
    """List the work. UserError when recordings or TextGrids are missing altogether or the split cannot be made.

    textgrids: their folder; None: the alignment is learned in training, phones come from the texts.
    """
    raw_path, output = Path(config.path.raw_path), Path(config.path.preprocessed_path)
    settings = _settings(config, aligned=textgrids is not None)
    facts = read_facts(raw_path)
    tasks = [
        Task(speaker, name, raw_path / speaker / f"{name}.wav", raw_path / speaker / f"{name}.lab",
             (textgrids or output) / speaker / f"{name}.TextGrid", output, settings,
             facts.get((speaker, name), NOTHING).language or config.preprocessing.text.languages[0])
        for speaker, name in _candidates(raw_path)
    ]  # fmt: skip
    if not tasks:
        raise UserError(f"no recordings in {raw_path}; run python prepare_align.py --dataset {config.dataset}")
    audio = config.preprocessing.audio
    made_with = Settings(audio.sampling_rate, audio.normalization, audio.max_wav_value)
    refuse_other_settings(raw_path, made_with, config.dataset)
    _refuse_other_languages(tasks, config)
    _refuse_without_labels((task.name for task in tasks), raw_path)
    if textgrids is not None and not any(task.textgrid.is_file() for task in tasks):
        raise UserError(
            f"no TextGrids in {textgrids} (for example {tasks[0].speaker}/{tasks[0].textgrid.name}); "
            f"run python align.py --dataset {config.dataset}, copy TextGrids there, name their folder by --textgrids, "
            "or let training align (--set model.alignment=learned)"
        )
    made = Plan(config, facts, output, tasks, _given_names(output))
    _validation(made, [(task.speaker, task.name) for task in tasks])  # fails now rather than after the work
    if settings.embedder_weights is not None:
        from deepspeaker import SpeakerEmbedder

        SpeakerEmbedder.from_keras(settings.embedder_weights)
    return made


def features(made: Plan, jobs: int) -> Iterator[Features | Skipped]:
    """Do the work of every utterance, in order; its mel and durations are on disk when it is yielded."""
    for folder in FOLDERS:
        make_folder(made.output / folder)
    remove_temporaries([made.output, *(made.output / folder for folder in FOLDERS)])
    (made.output / "train.txt").unlink(missing_ok=True)
    yield from ordered_map(build_features, made.tasks, jobs, PRELOAD, chunk=8)


def finish(made: Plan, results: Sequence[Features | Skipped]) -> Summary:
    """Write everything that concerns the corpus as a whole. `results` are those of `features`, complete."""
    kept = [result for result in results if isinstance(result, Features)]
    skipped = [result for result in results if isinstance(result, Skipped)]
    write_json(
        made.output / "skipped.json",
        [{"speaker": s.speaker, "name": s.name, "kind": s.kind, "reason": s.detail} for s in skipped],
    )
    if not kept:
        raise UserError(f"none of the {len(skipped)} utterances can be used; the first: {skipped[0].detail}")
    _refuse_without_labels((item.entry.name for item in kept), made.output / "skipped.json")
    chosen = _validation(made, [item.entry.key for item in kept])
    train = [item.entry for item in kept if item.entry.key not in chosen]
    val = [item.entry for item in kept if item.entry.key in chosen]
    _write_speakers(made, kept)
    _remove_stale(made.output, kept, made.tasks[0].settings.aligned)
    IdMaps.of((item.entry.speaker for item in kept), (item.entry.emotion for item in kept)).save(made.output)
    write_metadata(made.output / "val.txt", val)
    split = {"val_sha256": _sha256(made.output / "val.txt"), "given_val": made.given}
    write_json(made.output / "stats.json", statistics(made.config, made.facts, kept, skipped, len(val), split))
    write_metadata(made.output / "train.txt", train)
    found = find_given((item.entry.key for item in kept), made.given or ())
    return Summary(
        kept=len(kept),
        seconds=sum(item.frames for item in kept) * _seconds_per_frame(made.config),
        train=len(train),
        val=len(val),
        longest=max(kept, key=lambda item: item.frames),
        skipped=skipped,
        given=made.given is not None,
        given_missing=[name for name, keys in found.items() if not keys],
    )


def _settings(config: PreprocessConfig, aligned: bool) -> FeatureSettings:
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
    )


def _candidates(raw_path: Path) -> list[Key]:
    """Every speaker and name of which there is a recording or a text."""
    if not raw_path.is_dir():
        return []
    paths = (path for suffix in ("wav", "lab") for path in raw_path.glob(f"*/*.{suffix}"))
    return sorted({(path.parent.name, path.stem) for path in paths if not path.name.startswith(".")})


def _refuse_other_languages(tasks: Sequence[Task], config: PreprocessConfig) -> None:
    languages = config.preprocessing.text.languages
    for task in tasks:
        if task.language not in languages:
            raise UserError(
                f"{task.recording} is in {task.language}, but preprocess.preprocessing.text.languages are "
                f"{', '.join(languages)}; add {task.language} there, or leave such recordings out of the corpus"
            )


def _refuse_without_labels(names: Iterable[str], source: Path) -> None:
    """Emotion tokens are learned from labels; unlabelled utterances join in, but can't be all there is."""
    if all(emotion_of(name) is None for name in names):
        raise UserError(
            f"{source}: no utterance that can be used has an emotion label; join a corpus with labels "
            "(preprocess.datasets), or give these one (preprocess.emotion_map={none: neutral}) and run "
            "prepare_align.py again"
        )


def _given_names(output: Path) -> list[str] | None:
    """Names of a val.txt that the user gave; None when there is none, or it is our own and made by the configuration.

    A given val.txt is written anew with our phones and without utterances that cannot be used now; stats.json keeps
    all the names that it came with, so that a later run, in which they may be usable, still respects them.
    """
    path = output / "val.txt"
    if not path.exists():
        return None
    if (output / "stats.json").is_file():
        split = read_json(output / "stats.json", "preprocess.py (remove the file first)").get("split", {})
        if split.get("val_sha256") == _sha256(path):
            names: list[str] | None = split.get("given_val")
            return names
    return read_given(path)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _validation(made: Plan, keys: Sequence[Key]) -> set[Key]:
    values = made.config.preprocessing
    if made.given is not None:
        chosen = choose_given(keys, made.given, str(made.output / "val.txt"))
    else:
        chosen = choose(keys, values.split, values.val_size, made.facts)
    if all(emotion_of(name) is None for speaker, name in keys if (speaker, name) not in chosen):
        source = str(made.output / "val.txt") if made.given is not None else "preprocess.preprocessing.split"
        raise UserError(f"{source} holds out every utterance with an emotion label: no emotion would be left to learn")
    return chosen


def _seconds_per_frame(config: PreprocessConfig) -> float:
    return config.preprocessing.stft.hop_length / config.preprocessing.audio.sampling_rate


def _write_speakers(made: Plan, kept: Sequence[Features]) -> None:
    """speaker-info.txt, spker_embed/ and the t-SNE plot."""
    owners = [item.entry.speaker for item in kept]
    sexes: dict[str, str | None] = dict.fromkeys(sorted(set(owners)))
    for item in kept:
        sexes[item.entry.speaker] = made.facts.get(item.entry.key, NOTHING).sex or sexes[item.entry.speaker]
    letters = {"male": "M", "female": "F", None: "?"}
    info = "".join(f"{speaker}|{letters[sex]}\n" for speaker, sex in sexes.items())
    write_text(made.output / "speaker-info.txt", info)
    embeddings = [item.embedding for item in kept if item.embedding is not None]
    vectors, what = np.stack([item.mean_mel for item in kept]), "mean log-mel spectra (no speaker embedder configured)"
    if embeddings:
        vectors, what = np.stack(embeddings), f"{made.config.preprocessing.speaker_embedder} embeddings"
        for speaker in sexes:
            mean = vectors[np.array(owners) == speaker].mean(axis=0, keepdims=True)  # [1, 512]
            write_array(made.output / "spker_embed" / f"{speaker}-spker_embed.npy", mean)
    path = made.output / "spker_embed_tsne.png"
    plot_speakers(path, vectors, owners, sexes, what, made.config.preprocessing.split.seed)


def _remove_stale(output: Path, kept: Sequence[Features], aligned: bool) -> None:
    """Remove features that an earlier run wrote for what is no longer used."""
    current = {
        output / "spker_embed" / f"{item.entry.speaker}-spker_embed.npy" for item in kept if item.embedding is not None
    }
    for item in kept:
        current.add(mel_path(output, *item.entry.key))
        if aligned:
            current.add(duration_path(output, *item.entry.key))
    for folder in FOLDERS:
        for path in set((output / folder).glob("*.npy")) - current:
            path.unlink(missing_ok=True)


def summed_up(skipped: Sequence[Skipped]) -> str:
    """ "2 no TextGrid, 1 unknown phone"."""
    return ", ".join(f"{count} {kind}" for kind, count in Counter(item.kind for item in skipped).most_common())
