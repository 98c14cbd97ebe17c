"""align.py --aligner none: TextGrids made elsewhere, matched by their names and, where those leave a choice, phones."""

import json
import random
import shutil
from itertools import product
from pathlib import Path

import pytest

from preprocessor.align_tasks import find_tasks
from preprocessor.textgrid_match import match
from preprocessor.textgrid_writer import Interval, write_textgrid
from tests.aligning import DOGS, KIDS, align, contents, one_line_error, textgrids, write_raw
from tests.paths import real_data
from tests.small_corpus import textgrid

STATEMENTS = {"01": KIDS, "02": DOGS}
SPEAKERS, EMOTIONS, REPETITIONS = ("Actor_01", "Actor_02"), ("happy", "sad"), ("01", "02")
# as Montreal Forced Aligner hears them: CMUdict's variants of "dogs", "are" and "the"
KIDS_PHONES = (
    "K IH1 D Z ER0 T AO1 K IH0 NG B AY1 DH AH1 D AO1 R",
    "K IH1 D Z AA1 R T AO1 K IH0 NG B AY1 DH IY0 D AO1 R",
)
DOGS_PHONES = (
    "D AA1 G Z AA1 R S IH1 T IH0 NG B AY1 DH AH0 D AO1 R",
    "D AO1 G Z ER0 S IH1 T IH0 NG B AY1 DH AH0 D AO1 R",
)
PHONES = {"01": KIDS_PHONES, "02": DOGS_PHONES}
NAMES = [
    (speaker, f"{emotion}-normal-{{}}-{repetition}-{speaker}")
    for speaker, emotion, repetition in product(SPEAKERS, EMOTIONS, REPETITIONS)
]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both statements of everything."""
    folder = tmp_path_factory.mktemp("import") / "raw"
    write_raw(
        folder,
        {f"{speaker}/{name.format(code)}": text for speaker, name in NAMES for code, text in STATEMENTS.items()},
    )
    return folder


def write(path: Path, phones: str, start: float = 0.3, step: float = 0.05, words: str = "") -> Path:
    """One TextGrid, its phones `step` seconds long, its words (if any) anywhere."""
    labels = phones.split()
    intervals = [Interval(start + step * n, start + step * (n + 1), label) for n, label in enumerate(labels)]
    spelled = [Interval(start + 0.1 * n, start + 0.1 * (n + 1), word) for n, word in enumerate(words.split())]
    write_textgrid(path, spelled or [Interval(start, start + 0.1, "?")], intervals, start + step * len(labels) + 0.1)
    return path


def publish(folder: Path, seed: int) -> dict[str, str]:
    """TextGrids as those of the original implementation: of every two statements one survived. "name" -> which."""
    choice = random.Random(seed)
    codes = choice.sample(["01", "02"] * (len(NAMES) // 2), len(NAMES))
    for (speaker, name), code in zip(NAMES, codes, strict=True):
        write(folder / speaker / f"{name.format('').replace('--', '-')}.TextGrid", choice.choice(PHONES[code]))
    return {f"{speaker}/{name}": code for (speaker, name), code in zip(NAMES, codes, strict=True)}


def test_names_without_the_statement_are_told_apart_by_the_phones(raw, tmp_path):
    said = publish(tmp_path / "published", seed=1)
    result = align(raw, tmp_path / "out", "--aligner", "none", "--textgrids", tmp_path / "published")
    assert result.returncode == 0, result.stderr
    wanted = {}
    for name, code in said.items():
        source = tmp_path / "published" / f"{name.format('').replace('--', '-')}.TextGrid"
        wanted[f"TextGrid/{name.format(code)}.TextGrid"] = source.read_bytes()
    assert textgrids(tmp_path / "out") == wanted
    listed = json.loads((tmp_path / "out" / "textgrids.json").read_text())
    assert not listed["left_out"]
    assert {entry["utterance"] for entry in listed["taken"].values()} == {name.format(said[name]) for name in said}
    for source, entry in listed["taken"].items():
        assert entry["text"] == STATEMENTS[entry["lacking"]]
        assert entry["utterance"].replace(f"-{entry['lacking']}-", "-", 1) == source.removesuffix(".TextGrid")
    assert f'4 "{DOGS}", 4 "{KIDS}"' in result.stdout and "took 8 of 8" in result.stdout
    report = json.loads((tmp_path / "out" / "align.json").read_text())
    assert report["aligned"] == 8 and not report["misfits"]
    assert sorted(report["failed"]) == sorted(
        name.format(code) for name in said for code in STATEMENTS if code != said[name]
    )
    before = contents(tmp_path / "out")
    assert align(raw, tmp_path / "out", "--aligner", "none", "--textgrids", tmp_path / "published").returncode == 0
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("seed", range(2, 8))
def test_whatever_survived_is_recognised(raw, tmp_path, seed):
    said = publish(tmp_path, seed)
    tasks = find_tasks(raw, tmp_path / "out", ["en"], None, force=False)
    matches, left_out = match(sorted(tmp_path.rglob("*.TextGrid")), tasks, jobs=1)
    assert not left_out
    assert {found.task.label for found in matches} == {name.format(code) for name, code in said.items()}


def test_nothing_is_guessed(raw, tmp_path):
    folder = tmp_path / "grids"
    tasks = find_tasks(raw, tmp_path / "out", ["en"], None, force=False)

    def reason(name: str, phones: str, words: str = "") -> str:
        path = write(folder / f"{name}.TextGrid", phones, words=words)
        matches, left_out = match([path], tasks, jobs=1)
        assert not matches
        shutil.rmtree(folder)
        return left_out[path]

    # alone, its name may lack the statement or the repetition
    assert "its phones fit several" in reason("Actor_01/happy-normal-01-Actor_01", KIDS_PHONES[0])
    assert "of no recording that it may be of" in reason("Actor_01/happy-normal-02-Actor_01", "K IH1 D Z")
    assert "no recording has this name" in reason("Actor_01/happy-02-Actor_01", KIDS_PHONES[0])  # lacks two
    assert "no recording has this name" in reason("Actor_02/happy-normal-02-Actor_01", KIDS_PHONES[0])  # elsewhere
    # phones of one and words of the other
    assert "fit several" in reason("Actor_01/happy-normal-02-Actor_01", KIDS_PHONES[0], words=DOGS)
    # two for one recording, in folders that are no speakers'
    paths = [write(folder / phones[:9] / "sad-normal-01-01-Actor_02.TextGrid", phones) for phones in DOGS_PHONES]
    matches, left_out = match(paths, tasks, jobs=1)
    assert not matches and all("2 TextGrids would be" in left_out[path] for path in paths)


def test_where_pronunciations_are_unknown_the_words_decide(tmp_path):
    write_raw(tmp_path / "raw", {"A/none-x-1": "Hello Anneliese", "A/none-x-2": "Goodbye Anneliese"})
    tasks = find_tasks(tmp_path / "raw", tmp_path / "out", ["en"], None, force=False)
    phones = "HH EH1 L OW0 AE1 N AH0 L IY1 Z AH0"
    path = write(tmp_path / "A" / "none-x.TextGrid", phones, words="hello anneliese")
    (found,), left_out = match([path], tasks, jobs=1)
    assert found.task.name == "none-x-1" and found.lacking == "1" and not left_out


def test_names_without_the_label_that_ours_begin_with(tmp_path):
    write_raw(tmp_path / "raw", {"LJSpeech/none-LJ001-0001": KIDS, "LJSpeech/none-LJ001-0002": KIDS})
    write(tmp_path / "grids" / "LJSpeech" / "LJ001-0001.TextGrid", KIDS_PHONES[0])
    write(tmp_path / "grids" / "LJ001-0002.TextGrid", KIDS_PHONES[1])  # no speaker's folder
    result = align(tmp_path / "raw", tmp_path / "out", "--aligner", "none", "--textgrids", tmp_path / "grids")
    assert result.returncode == 0, result.stderr
    assert "aligned 2 of 2" in result.stdout
    assert "2 have other phones for their words than synthesis uses" in result.stdout


def test_what_does_not_fit_its_recording_is_left_out_and_said(raw, tmp_path):
    grids = tmp_path / "grids"
    kinds = [(emotion, "01", repetition) for emotion, repetition in product(EMOTIONS, REPETITIONS)]
    good, long, other, unknown, silent, broken = (
        f"Actor_01/{emotion}-normal-{code}-{repetition}-Actor_01"
        for emotion, code, repetition in [*kinds, ("sad", "02", "01"), ("sad", "02", "02")]
    )
    write(grids / f"{good}.TextGrid", KIDS_PHONES[1])
    write(grids / f"{long}.TextGrid", KIDS_PHONES[1], step=0.2)
    write(grids / f"{other}.TextGrid", DOGS_PHONES[0])
    write(grids / f"{unknown}.TextGrid", KIDS_PHONES[0].replace("NG", "ŋ"), words=KIDS)
    write(grids / f"{silent}.TextGrid", "sil sp")
    (grids / f"{broken}.TextGrid").write_text(textgrid([(0, 1, "K")])[:200])
    result = align(raw, tmp_path / "out", "--aligner", "none", "--textgrids", grids)
    assert result.returncode == 0, result.stderr
    assert list(textgrids(tmp_path / "out")) == [f"TextGrid/{good}.TextGrid"]
    left_out = json.loads((tmp_path / "out" / "textgrids.json").read_text())["left_out"]
    failed = json.loads((tmp_path / "out" / "align.json").read_text())["failed"]
    for name, message in (
        (long, "ends at 3.9 s, but the recording at 2 s"),
        (other, "not those of the text"),
        (unknown, "unknown phone 'ŋ'"),
        (silent, "no phones but silences"),
        (broken, "not a usable TextGrid"),
    ):
        assert message in left_out[f"{name}.TextGrid"] and message in failed[name]
    assert "took 1 of 6 TextGrids" in result.stdout and f"left out: {long}" in result.stdout
    assert "there is no" in failed["Actor_02/sad-normal-01-01-Actor_02"]


def test_textgrids_that_are_there_are_kept_unless_forced(raw, tmp_path):
    name = "Actor_01/sad-normal-01-01-Actor_01.TextGrid"
    write(tmp_path / "out" / "TextGrid" / name, KIDS_PHONES[0])
    write(tmp_path / "grids" / name, KIDS_PHONES[1])
    flags = ("--aligner", "none", "--textgrids", tmp_path / "grids")
    before = textgrids(tmp_path / "out")
    assert align(raw, tmp_path / "out", *flags).returncode == 0
    assert textgrids(tmp_path / "out") == before
    assert "--force" in json.loads((tmp_path / "out" / "textgrids.json").read_text())["left_out"][name]
    assert align(raw, tmp_path / "out", *flags, "--force").returncode == 0
    assert textgrids(tmp_path / "out") == {f"TextGrid/{name}": (tmp_path / "grids" / name).read_bytes()}


def test_the_textgrid_folder_itself(raw, tmp_path):
    """Unpacked where they belong, under names that lack a field."""
    said = publish(tmp_path / "TextGrid", seed=3)
    result = align(raw, tmp_path, "--aligner", "none")
    assert result.returncode == 0, result.stderr
    assert {f"TextGrid/{name.format(code)}.TextGrid" for name, code in said.items()} <= set(textgrids(tmp_path))
    first = textgrids(tmp_path)
    assert "took 16 of 16" in align(raw, tmp_path, "--aligner", "none").stdout  # the copies have their own names
    assert textgrids(tmp_path) == first
    listed = json.loads((tmp_path / "textgrids.json").read_text())["taken"]
    assert sum("lacking" in entry for entry in listed.values()) == 8


def test_a_folder_without_textgrids_is_an_error(raw, tmp_path):
    error = one_line_error(align(raw, tmp_path / "out", "--aligner", "none", "--textgrids", tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in error and "--textgrids" in error
    write(tmp_path / "grids" / "nobody.TextGrid", KIDS_PHONES[0])
    result = align(raw, tmp_path / "out", "--aligner", "none", "--textgrids", tmp_path / "grids")
    assert "error: none of the 16 recordings could be aligned" in result.stderr and result.returncode == 2


@pytest.mark.data
def test_real_alignments_find_their_recordings_without_the_statement(tmp_path):
    """The alignments at hand under the names that the original implementation gives them."""
    texts, wanted = {}, {}
    choice = random.Random(0)
    for path in sorted(real_data("TextGrid").glob("Actor_0[1-4]/*.TextGrid")):
        emotion, intensity, code, repetition, speaker = path.stem.split("-")
        texts[f"{speaker}/{path.stem}"] = STATEMENTS[code]
        short = f"{speaker}/{emotion}-{intensity}-{repetition}-{speaker}"
        if short not in wanted or choice.random() < 0.5:  # they overwrite each other
            wanted[short] = path
    for label, text in texts.items():  # matching does not listen
        (tmp_path / "raw" / f"{label}.wav").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / f"{label}.wav").touch()
        (tmp_path / "raw" / f"{label}.lab").write_text(text)
    for short, path in wanted.items():
        (tmp_path / "grids" / f"{short}.TextGrid").parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "grids" / f"{short}.TextGrid")
    tasks = find_tasks(tmp_path / "raw", tmp_path / "out", ["en"], None, force=False)
    matches, left_out = match(sorted((tmp_path / "grids").rglob("*.TextGrid")), tasks, jobs=1)
    assert not left_out and len(matches) == 120
    assert {found.task.name for found in matches} == {path.stem for path in wanted.values()}
