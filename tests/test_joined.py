"""Datasets as prepare_align.py finds them: one corpus or several joined, emotions renamed, speakers told apart."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from config import load_config
from errors import UserError
from preprocessor.corpus import Utterance
from preprocessor.facts import Facts, read_facts
from preprocessor.joined import find, prefix_speakers, rename_emotions
from tests.processes import assert_ok, assert_refused, run_script, with_overrides
from tests.small_corpus import textgrid, tree, write_ravdess
from utils.metadata import IdMaps, read_metadata

MEMBERS = {  # beyond `inherit: RAVDESS` and a corpus_path of its own
    "First": "emotion_map: {calm: neutral}",
    "Second": "preprocessing: {text: {languages: [zh]}}\nemotion_map: {angry: furious, happy: none}",
    "Joined": "datasets: [First, Second]\npreprocessing: {text: {languages: [en, zh]}}\nemotion_map: {furious: angry}",
}


def write_configs(root: Path, **changes: str) -> Path:
    """config/ of two members and what joins them, each with the lines of MEMBERS or of `changes`."""
    for name, lines in ({"RAVDESS": ""} | MEMBERS | changes).items():
        (root / name).mkdir(parents=True)
        own = f"corpus_path: {root.parent / name}, raw_path: raw, preprocessed_path: out"
        (root / name / "preprocess.yaml").write_text(f"dataset: {name}\npath: {{{own}}}\n{lines}\n")
        (root / name / "model.yaml").write_text("{}\n")
        (root / name / "train.yaml").write_text("path: {ckpt_path: c, log_path: l, result_path: r}\n")
    return root


@pytest.fixture
def corpora(tmp_path):
    """First: actors 1 and 2, calm and angry; Second: actors 2 and 3, happy and angry."""
    write_ravdess(tmp_path / "First", actors=(1, 2), emotions=(2, 5), statements=(1,))
    write_ravdess(tmp_path / "Second", actors=(2, 3), emotions=(3, 5), statements=(1,))
    (tmp_path / "Second/Actor_03/03-02-03-01-01-01-03.wav").write_bytes(b"")  # a song
    return tmp_path


def found(corpora, *overrides, **changes):
    root = write_configs(corpora / "config", **changes)
    return find(load_config("Joined", overrides, root).preprocess, root)


def test_members_come_together_under_the_joined_names(corpora):
    result = found(corpora)
    listed = [(item.speaker, item.name, item.language, item.dataset) for item in result.utterances]
    assert listed == [
        ("Actor_01", "angry-normal-01-01-Actor_01", "en", "First"),
        ("Actor_01", "neutral-normal-01-01-Actor_01", "en", "First"),
        ("Actor_03", "angry-normal-01-01-Actor_03", "zh", "Second"),
        ("Actor_03", "none-normal-01-01-Actor_03", "zh", "Second"),
        ("First_Actor_02", "angry-normal-01-01-Actor_02", "en", "First"),
        ("First_Actor_02", "neutral-normal-01-01-Actor_02", "en", "First"),
        ("Second_Actor_02", "angry-normal-01-01-Actor_02", "zh", "Second"),
        ("Second_Actor_02", "none-normal-01-01-Actor_02", "zh", "Second"),
    ]
    assert result.left_out == {"First": {}, "Second": {"vocal channel 02 (song)": 1}}


def test_a_member_may_lie_elsewhere(corpora):
    (corpora / "Second").rename(corpora / "else where")
    override = f"preprocess.path.corpus_paths.Second={corpora / 'else where'}"
    assert Counter(item.dataset for item in found(corpora, override).utterances) == {"First": 4, "Second": 4}


def test_one_corpus_keeps_its_speakers_and_maps_its_emotions(corpora):
    root = write_configs(corpora / "config")
    result = find(load_config("Second", ["preprocess.emotion_map.sad=gloomy"], root).preprocess, root)
    assert {(item.speaker, item.emotion) for item in result.utterances} == {
        (speaker, emotion) for speaker in ("Actor_02", "Actor_03") for emotion in (None, "furious")
    }
    assert {(item.language, item.dataset) for item in result.utterances} == {(None, None)}


@pytest.mark.parametrize(
    ("changes", "overrides", "message"),
    [
        (
            {},
            ["preprocess.datasets=[First, Nobody]"],
            r"config/Joined/preprocess\.yaml: datasets: unknown .*'Nobody'",
        ),
        ({"Second": "datasets: [First]"}, [], "Second is itself joined; list its members instead: First"),
        ({}, ["preprocess.preprocessing.text.languages=[en]"], "Second is in zh, but .* of Joined are en; add zh"),
        ({}, ["preprocess.path.corpus_paths.Second=gone"], r"folder gone of Second .*record.*corpus_paths\.Second=DIR"),
        ({}, ["preprocess.datasets=[First, Second, First]"], r"config/Joined/preprocess\.yaml: .*lists First twice"),
        ({}, ["preprocess.path.corpus_paths.Third=x"], r"names 'Third', which is not among datasets \(First, Second\)"),
        ({}, ["preprocess.emotion_map.happy=so-so"], r"emotion_map\.happy: .*pattern"),
        (
            {"Second": "corpus_options: {tempo: fast}"},
            [],
            r"config/Second/preprocess\.yaml: .*RAVDESS has no option 'tempo'",
        ),
    ],
)
def test_members_that_do_not_fit_are_refused(corpora, changes, overrides, message):
    with pytest.raises(UserError, match=message) as caught:
        found(corpora, *overrides, **changes)
    assert "\n" not in str(caught.value)


def test_the_shipped_example_reads_both_its_corpora(tmp_path):
    write_ravdess(tmp_path / "RAVDESS", actors=(1,), emotions=(3,), statements=(1,))
    (tmp_path / "LJ/wavs").mkdir(parents=True)
    (tmp_path / "LJ/wavs/LJ001-0001.wav").write_bytes(b"")
    (tmp_path / "LJ/metadata.csv").write_text("LJ001-0001|Printing in 1455|Printing in fourteen fifty-five\n")
    places = f"preprocess.path.corpus_paths={{RAVDESS: {tmp_path / 'RAVDESS'}, LJSpeech: {tmp_path / 'LJ'}}}"
    utterances = find(load_config("RAVDESS_LJSpeech", [places]).preprocess).utterances
    assert [(item.speaker, item.name) for item in utterances] == [
        ("Actor_01", "happy-normal-01-01-Actor_01"),
        ("LJSpeech", "none-LJ001-0001"),
    ]


def utterance(speaker, emotion, key="1"):
    return Utterance(Path("x.wav"), key, "text", speaker, emotion)


def test_emotions_that_become_one_keep_the_names_apart():
    said = [utterance("a", emotion) for emotion in ("calm", "fear", "neutral", "sad", None)]
    names = [item.name for item in rename_emotions(said, [{"calm": "neutral", "fear": "fearful", "sad": "none"}])]
    assert names == ["neutral-calm-1", "fearful-1", "neutral-1", "none-sad-1", "none-1"]
    assert rename_emotions(said, [{}, {"joy": "happy"}]) == said
    assert rename_emotions(said[-1:], [{"none": "neutral"}]) == [utterance("a", "neutral")]
    swapped = rename_emotions([said[0], said[3]], [{"calm": "sad", "sad": "calm"}])
    assert [item.name for item in swapped] == ["sad-1", "calm-1"]


def test_only_clashing_speakers_are_prefixed_and_never_into_another():
    members = {"A": [utterance("x", None), utterance("y", None)], "B": [utterance("x", None)], "C": []}
    assert [item.speaker for item in prefix_speakers(members)] == ["A_x", "y", "B_x"]
    with pytest.raises(UserError, match="A and C would both have a speaker A_x"):
        prefix_speakers({**members, "C": [utterance("A_x", None)]})


# -------------------------------------------------------------------------------------------------- real processes


def flags(folder: Path, *overrides: str) -> list[str]:
    """RAVDESS and Sample, as shipped, joined in the shipped example's place."""
    from tests.tiny import tiny_overrides

    values = [
        "preprocess.datasets=[RAVDESS, Sample]",
        f"preprocess.path.corpus_paths={{RAVDESS: {folder / 'First'}, Sample: {folder / 'Second'}}}",
        f"preprocess.path.raw_path={folder / 'raw'}",
        "preprocess.emotion_map={calm: none}",
        "preprocess.preprocessing.split.by=speaker_emotion",
        "preprocess.preprocessing.split.hold_out=[Actor_03/angry, RAVDESS_Actor_02/none]",
        *tiny_overrides(folder / "data", folder / "output"),
    ]
    return ["--dataset", "RAVDESS_LJSpeech", *with_overrides([*values, *overrides])]


GRID = ((0.0, 0.05, "sil"), (0.05, 0.2, "K"), (0.2, 0.3, "IH1"), (0.3, 0.45, "D"), (0.45, 0.5, "sp"))


def test_from_two_corpora_to_training(corpora):
    result = run_script("prepare_align.py", *flags(corpora), "--jobs", "1")
    assert_ok(result)
    report = result.stdout.splitlines()
    assert report[0] == "left out of Sample: 1 of vocal channel 02 (song)"
    assert report[1].startswith("8 recordings of 4 speakers")
    raw, data = corpora / "raw", corpora / "data"
    speakers = ["Actor_01", "Actor_03", "RAVDESS_Actor_02", "Sample_Actor_02"]
    assert sorted(path.name for path in raw.iterdir()) == speakers
    facts = read_facts(raw)
    expected = Facts("normal", "01", "female", "en", None, "Sample")
    assert facts["Sample_Actor_02", "happy-normal-01-01-Actor_02"] == expected
    again = tree(raw)
    assert_ok(run_script("prepare_align.py", *flags(corpora), "--jobs", "2"))
    assert tree(raw) == again
    for wav in raw.glob("*/*.wav"):
        grid = data / "TextGrid" / wav.parent.name / f"{wav.stem}.TextGrid"
        grid.parent.mkdir(parents=True, exist_ok=True)
        grid.write_text(textgrid(GRID))
    assert_ok(run_script("preprocess.py", *flags(corpora), "--jobs", "1"))
    stats = json.loads((data / "stats.json").read_text())
    assert {name: (part["utterances"], part["speakers"]) for name, part in stats["datasets"].items()} == {
        "RAVDESS": (4, 2),
        "Sample": (4, 2),
    }
    assert {name: part["utterances"] for name, part in stats["emotions"].items()} == {"angry": 4, "happy": 2, "none": 2}
    assert sum(part["hours"] for part in stats["emotions"].values()) == pytest.approx(stats["hours"], abs=2e-4)
    maps = IdMaps.load(data)
    assert list(maps.speakers) == speakers and list(maps.emotions) == ["angry", "happy"]
    train, val = read_metadata(data / "train.txt"), read_metadata(data / "val.txt")
    assert [sum(entry.emotion is None for entry in entries) for entries in (train, val)] == [1, 1]
    trained = run_script("train.py", *flags(corpora, "train.step.total_step=4"))
    assert_ok(trained)
    assert "6 utterances to train (1 unlabelled), 2 to validate" in trained.stdout
    evaluated = run_script("evaluate.py", *flags(corpora), "--restore_step", "4", "--split", "train",
                           "--output", corpora / "eval")  # fmt: skip
    assert_ok(evaluated)
    made = json.loads((corpora / "eval/report.json").read_text())
    assert np.sum(made["confusion"]["counts"]) == 5 and made["overall"]["utterances"] == 6
    right = [each["heard"] == each["emotion"] for each in made["utterances"] if each["emotion"] != "none"]
    assert made["overall"]["emotion_accuracy"] == pytest.approx(np.mean(right), abs=1e-4)
    assert made["emotions"]["none"]["utterances"] == 1 and made["emotions"]["none"]["emotion_accuracy"] is None
    assert re.search(r"^\| none \| 1 .* – \|$", (corpora / "eval/report.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("how", [["--corpus_path", "x"], ["--set", "preprocess.path.corpus_path=x"]])
def test_one_corpus_path_for_several_corpora_is_refused(corpora, how):
    result = run_script("prepare_align.py", *flags(corpora), *how)
    assert_refused(result, r"joins RAVDESS, Sample, .*corpus_paths\.RAVDESS=DIR")
    assert not (corpora / "raw").exists()
