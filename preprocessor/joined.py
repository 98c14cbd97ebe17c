"""What prepare_align.py works on: one corpus, or several that `preprocess.datasets` joins.

Each member of a joined dataset is read as its own config/<MEMBER>/preprocess.yaml says; from there on the joined
dataset is one like any other, in one raw_path.

    config/RAVDESS_LJSpeech/preprocess.yaml: datasets: [RAVDESS, LJSpeech]
    -> raw_data/RAVDESS_LJSpeech/Actor_01 … Actor_24, LJSpeech
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from config import load_config
from config.loading import CONFIG_ROOT
from config.schema import PreprocessConfig
from errors import UserError
from preprocessor.corpus import Scan, Utterance, get_corpus
from utils.metadata import NO_EMOTION


@dataclass(frozen=True)
class Found:
    """The recordings of a dataset, speakers and emotions under the names that it gives them."""

    utterances: Sequence[Utterance]  # sorted by speaker, then name
    left_out: Mapping[str, Mapping[str, int]]  # dataset (a joined one's members) -> kind of recording -> how many


def find(config: PreprocessConfig, root: Path = CONFIG_ROOT) -> Found:
    """Scan the corpus, or the corpora of all members, whose configurations lie in `root`.

    Raises UserError as Corpus.scan does, and for a member that is unknown, itself joined, not there, or in a language
    that the joined dataset does not have.
    """
    if not config.datasets:
        scan = get_corpus(config.corpus, config.corpus_options).scan(Path(config.path.corpus_path))
        return Found(_sorted(rename_emotions(scan.utterances, [config.emotion_map])), {config.dataset: scan.left_out})
    members = {name: _member(config, name, root) for name in config.datasets}
    scans = {name: _scan_member(config, name, member) for name, member in members.items()}
    utterances = {
        name: [
            replace(item, dataset=name, language=item.language or members[name].preprocessing.text.languages[0])
            for item in rename_emotions(scan.utterances, [members[name].emotion_map, config.emotion_map])
        ]
        for name, scan in scans.items()
    }
    return Found(_sorted(prefix_speakers(utterances)), {name: scan.left_out for name, scan in scans.items()})


def _member(joined: PreprocessConfig, name: str, root: Path) -> PreprocessConfig:
    source = f"config/{joined.dataset}/preprocess.yaml: datasets"
    try:
        member = load_config(name, root=root).preprocess
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    if member.datasets:
        raise UserError(f"{source}: {name} is itself joined; list its members instead: {', '.join(member.datasets)}")
    own, all_of_them = member.preprocessing.text.languages, joined.preprocessing.text.languages
    foreign = [language for language in own if language not in all_of_them]
    if foreign:
        raise UserError(
            f"{source}: {name} is in {', '.join(own)}, but preprocess.preprocessing.text.languages of {joined.dataset} "
            f"are {', '.join(all_of_them)}; add {', '.join(foreign)} there"
        )
    return member


def _scan_member(joined: PreprocessConfig, name: str, member: PreprocessConfig) -> Scan:
    try:
        corpus = get_corpus(member.corpus, member.corpus_options)
    except UserError as error:
        raise UserError(f"config/{name}/preprocess.yaml: {error}") from error
    folder = Path(joined.path.corpus_paths.get(name, member.path.corpus_path))
    if not folder.is_dir():
        script = f"run python download.py --dataset {name}; or " if corpus.about.direct else ""
        raise UserError(
            f"corpus folder {folder} of {name} does not exist; {script}{corpus.about.get} ({corpus.about.home}), or "
            f"name yours by --set preprocess.path.corpus_paths.{name}=DIR"
        )
    return corpus.scan(folder)


def _sorted(utterances: Sequence[Utterance]) -> list[Utterance]:
    return sorted(utterances, key=lambda item: (item.speaker, item.name))


def rename_emotions(utterances: Sequence[Utterance], maps: Sequence[Mapping[str, str]]) -> list[Utterance]:
    """The utterances with their emotions under other names: each of `maps` (see preprocess.emotion_map) in turn.

    Where several emotions become one, those that bore another name keep it at the beginning of their key, lest two
    recordings get one name: calm -> neutral makes "neutral-calm-normal-01-01-Actor_05".
    """
    renamed = {}
    for emotion in {item.emotion for item in utterances}:
        name = emotion or NO_EMOTION
        for emotion_map in maps:
            name = emotion_map.get(name, name)
        renamed[emotion] = None if name == NO_EMOTION else name
    merged = {name for name in renamed.values() if list(renamed.values()).count(name) > 1}
    return [
        replace(
            item,
            emotion=renamed[item.emotion],
            key=f"{item.emotion or NO_EMOTION}-{item.key}"
            if renamed[item.emotion] in merged and renamed[item.emotion] != item.emotion
            else item.key,
        )
        for item in utterances
    ]


def prefix_speakers(members: Mapping[str, Sequence[Utterance]]) -> list[Utterance]:
    """All utterances together; a speaker's name that occurs in several members gets each one's name in front.

    Actor_01 of RAVDESS and of Sample -> RAVDESS_Actor_01, Sample_Actor_01.
    """
    speakers = {name: {item.speaker for item in utterances} for name, utterances in members.items()}
    everywhere = list(chain.from_iterable(speakers.values()))
    clashing = {speaker for speaker in everywhere if everywhere.count(speaker) > 1}
    owners: dict[str, str] = {}
    for name in members:
        for speaker in sorted(speakers[name]):
            called = f"{name}_{speaker}" if speaker in clashing else speaker
            if owners.setdefault(called, name) != name:
                raise UserError(
                    f"{owners[called]} and {name} would both have a speaker {called}; rename that folder in one of them"
                )
    return [
        replace(item, speaker=f"{name}_{item.speaker}") if item.speaker in clashing else item
        for name, utterances in members.items()
        for item in utterances
    ]
