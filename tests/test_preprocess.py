"""preprocess.py: alignments and recordings -> features, lists and statistics."""

import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import prepare_align
import preprocess
from config.schema import Split
from errors import UserError
from preprocessor import corpus_files, features
from preprocessor.facts import Facts
from preprocessor.split import Chooser
from tests.paths import ROOT, real_data
from tests.small_corpus import ALIGNED, RATE, noise, textgrid, tree, write_manifest, write_raw
from utils.metadata import IdMaps, read_metadata

NAME, SPEAKER = "angry-normal-01-01-Actor_01", "Actor_01"  # the first of write_raw's 12


def arguments(tmp_path, *overrides, output="out", flags=()):
    values = [
        f"preprocess.path.raw_path={tmp_path / 'raw'}", f"preprocess.path.preprocessed_path={tmp_path / output}",
        "preprocess.preprocessing.val_size=3", *overrides,
    ]  # fmt: skip
    flags = ["--dataset", "RAVDESS", "--textgrids", str(tmp_path / "grids"), "--jobs", "1", *flags]
    return flags + [part for value in values for part in ("--set", value)]


def run(tmp_path, *overrides, **kwargs):
    preprocess.main(arguments(tmp_path, *overrides, **kwargs))
    return tmp_path / kwargs.get("output", "out")


@pytest.fixture
def raw(tmp_path):
    write_raw(tmp_path / "raw", tmp_path / "grids")
    return tmp_path


@pytest.fixture(autouse=True)
def quick_plot(request, monkeypatch):
    """t-SNE takes a second; tests that do not look at the picture go without."""
    if "plot" not in request.function.__name__:
        monkeypatch.setattr(corpus_files, "plot_speakers", lambda path, *_: path.write_bytes(b""))


def names(path):
    return [entry.name for entry in read_metadata(path)]


def stats(out):
    return json.loads((out / "stats.json").read_text())


def skipped(out):
    return json.loads((out / "skipped.json").read_text())


def test_everything_is_written_and_agrees(raw):
    out = run(raw)
    train, val = read_metadata(out / "train.txt"), read_metadata(out / "val.txt")
    assert (len(train), len(val)) == (9, 3) and not skipped(out)
    for entry in train + val:
        mel = np.load(out / f"mel/{entry.speaker}-mel-{entry.name}.npy")
        durations = np.load(out / f"duration/{entry.speaker}-duration-{entry.name}.npy")
        assert mel.dtype == np.float32 and mel.shape == (durations.sum(), 80) and mel.flags.c_contiguous
        assert durations.dtype == np.int64 and len(durations) == len(entry.phones)
        assert entry.phones == ("K", "IH1", "D") and entry.text == "Kid"
    maps = IdMaps.load(out)
    assert maps == IdMaps({"Actor_01": 0, "Actor_02": 1}, {"angry": 0, "happy": 1, "sad": 2})
    assert (out / "speaker-info.txt").read_text() == "Actor_01|M\nActor_02|F\n"


def test_statistics_are_those_of_the_features(raw):
    out = run(raw)
    mels = np.concatenate([np.load(path) for path in (out / "mel").glob("*.npy")]).astype(np.float64)
    made = stats(out)
    expected = {"mean": mels.mean(), "std": mels.std(), "min": mels.min(), "max": mels.max()}
    assert made["mel"] == pytest.approx(expected, abs=2e-6)
    assert made["frames"] == len(mels) and made["hours"] == round(len(mels) * 256 / 22050 / 3600, 4)
    assert (
        made["utterances"] == 12 and made["longest_utterance"]["frames"] == 44 and made["longest_text"]["phones"] == 3
    )
    assert {name: part["utterances"] for name, part in made["emotions"].items()} == {"angry": 4, "happy": 4, "sad": 4}
    assert made["settings"]["stft"]["hop_length"] == 256


def test_the_mel_is_that_of_the_aligned_part(raw):
    import torch

    import audio

    out = run(raw)
    wav = audio.load(raw / f"raw/{SPEAKER}/{NAME}.wav", None)[int(0.1 * RATE) : int(0.62 * RATE)]
    expected = audio.MelSpectrogram(RATE, 1024, 256, 1024, 80, 0, 8000)(torch.from_numpy(wav)[None])[0][0]
    made = np.load(out / f"mel/{SPEAKER}-mel-{NAME}.npy")
    assert np.allclose(made, expected[: len(made)].numpy(), atol=1e-5)


def test_runs_are_byte_identical_whatever_the_number_of_processes(raw):
    first = tree(run(raw))
    assert tree(run(raw)) == first
    assert tree(run(raw, output="again")) == first
    command = [sys.executable, str(ROOT / "preprocess.py"), *arguments(raw, output="two", flags=("--jobs", "2"))]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and result.stdout.count("\n") == 1, result
    second = tree(raw / "two")
    assert second.pop("spker_embed_tsne.png").startswith(b"\x89PNG") and first.pop("spker_embed_tsne.png") == b""
    assert second == first


GRID = f"grids/{SPEAKER}/{NAME}.TextGrid"
WAV = f"raw/{SPEAKER}/{NAME}.wav"
LAB = f"raw/{SPEAKER}/{NAME}.lab"


def grid(intervals, **kwargs):
    return GRID, textgrid(intervals, **kwargs).encode()


SPOILED = {
    "no TextGrid": ((GRID, None), "does not exist"),
    "no recording": ((WAV, None), "no such audio file"),
    "no text": ((LAB, None), "No such file"),
    "blank text": ((LAB, b"  \n"), "the file is empty"),
    "not audio": ((WAV, b"not audio" * 99), "not readable as audio"),
    "zero length": ((WAV, np.zeros(0)), "zero length"),
    "silent": ((WAV, np.zeros(RATE)), "-80 dBFS"),
    "NaN": ((WAV, np.full(RATE, np.nan)), "NaN"),
    "no phones tier": (grid(ALIGNED, tier="words"), "no `phones` tier"),
    "reversed times": (grid([(0, 0.3, "K"), (0.5, 0.4, "D")], end=0.7), "cannot occur after"),
    "overlapping times": (grid([(0, 0.3, "K"), (0.2, 0.4, "D")]), "overlap"),
    "longer than the audio": (grid([(0, 0.3, "K"), (0.3, 0.9, "D")]), "ends at 0.90 s, the recording at 0.70 s"),
    "only silence": (grid([(0, 0.3, "sil"), (0.3, 0.6, "sp")]), "no phones but silences"),
    "shorter than a frame": (grid([(0.1, 0.101, "K")]), "shorter than a frame"),
    "unknown phone": (grid([(0, 0.3, "K"), (0.3, 0.6, "QQ9")]), "unknown phone 'QQ9'"),
    "cut off": ((GRID, textgrid(ALIGNED).encode()[:-40]), "not a usable TextGrid"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_an_unusable_utterance_is_listed_and_harms_no_other(raw, case, capsys):
    whole = run(raw, "preprocess.preprocessing.val_size=0")
    expected = {path.name: path.read_bytes() for path in whole.glob("*/*.npy") if NAME not in path.name}
    assert len(expected) == 33  # mel, duration and pitch of each
    (place, content), reason = SPOILED[case]
    (raw / place).unlink()
    if isinstance(content, bytes):
        (raw / place).write_bytes(content)
    elif content is not None:
        soundfile.write(raw / place, content, RATE, subtype="FLOAT")
    capsys.readouterr()
    out = run(raw, "preprocess.preprocessing.val_size=0")  # over the earlier run, whose features must go
    (entry,) = skipped(out)
    assert (entry["speaker"], entry["name"]) == (SPEAKER, NAME) and reason in entry["reason"], entry
    assert {path.name: path.read_bytes() for path in out.glob("*/*.npy")} == expected
    assert NAME not in names(out / "train.txt") and len(names(out / "train.txt")) == 11
    report = capsys.readouterr().out.splitlines()
    assert len(report) == 2 and report[0].startswith(f"skipped 1 of 12: 1 {entry['kind']};")
    assert stats(out)["skipped_by_kind"] == {entry["kind"]: 1}


@pytest.mark.parametrize("seconds", [0.62, 0.61, 0.601])
def test_alignments_that_end_a_little_after_the_audio_are_used(raw, seconds):
    soundfile.write(raw / WAV, noise(seconds, 0.5, 3), RATE)
    (raw / GRID).write_text(textgrid([(0.098, 0.4, "K"), (0.4, 0.62, "D")]))
    out = run(raw)
    mel = np.load(out / f"mel/{SPEAKER}-mel-{NAME}.npy")
    assert not skipped(out)
    assert len(mel) == np.load(out / f"duration/{SPEAKER}-duration-{NAME}.npy").sum() == 45


def test_frames_are_the_sum_of_durations_for_any_times(raw):
    rng = np.random.default_rng(0)
    for path in sorted((raw / "grids").glob("*/*.TextGrid")):
        times = np.sort(rng.uniform(0, 0.715, 5)).round(4)
        path.write_text(textgrid([(a, b, "K") for a, b in itertools.pairwise(times)]))
    out = run(raw)
    assert not skipped(out)
    for path in (out / "mel").glob("*.npy"):
        durations = np.load(out / "duration" / path.name.replace("-mel-", "-duration-"))
        assert len(np.load(path)) == durations.sum()


def test_nothing_to_work_with(tmp_path):
    with pytest.raises(UserError, match=r"no recordings in .*raw; run python prepare_align\.py --dataset RAVDESS"):
        run(tmp_path)
    write_raw(tmp_path / "raw", tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"no TextGrids in .*grids .*run python align\.py --dataset RAVDESS"):
        run(tmp_path)
    assert not (tmp_path / "out").exists()


def test_nothing_usable_ends_with_code_2_and_leaves_nothing_to_train_on(raw):
    out = run(raw)
    for path in (raw / "grids").glob("*/*.TextGrid"):
        path.write_text("no TextGrid")
    command = [sys.executable, str(ROOT / "preprocess.py"), *arguments(raw)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.startswith("error: none of the 12 utterances can be used") and result.stderr.count("\n") == 1
    assert not (out / "train.txt").exists() and len(skipped(out)) == 12


def test_recordings_made_with_other_settings_are_refused(tmp_path):
    from tests.small_corpus import write_ravdess

    write_ravdess(tmp_path / "corpus")
    write_raw(tmp_path / "unused", tmp_path / "grids", emotions=("angry", "happy"))
    place = f"preprocess.path.raw_path={tmp_path / 'raw'}"
    prepare_align.main(
        ["--dataset", "RAVDESS", "--corpus_path", str(tmp_path / "corpus"), "--jobs", "1", "--set", place]
    )
    with pytest.raises(UserError, match=r"made with normalization speaker_peak, but .* is utterance_peak"):
        run(tmp_path, "preprocess.preprocessing.audio.normalization=utterance_peak")


# ------------------------------------------------------------------------------------------------------- splits


def split(by, *hold_out):
    held = "[" + ",".join(f'"{name}"' for name in hold_out) + "]"
    return f"preprocess.preprocessing.split.by={by}", f"preprocess.preprocessing.split.hold_out={held}"


@pytest.mark.parametrize(
    ("by", "hold_out", "is_held"),
    [
        ("speaker", "Actor_02", lambda entry: entry.speaker == "Actor_02"),
        ("statement", "02", lambda entry: entry.name.split("-")[2] == "02"),
        ("speaker_emotion", "Actor_01/sad", lambda entry: (entry.speaker, entry.emotion) == ("Actor_01", "sad")),
    ],
)
def test_splits_hold_out_what_they_name(raw, by, hold_out, is_held):
    out = run(raw, *split(by, hold_out))
    train, val = read_metadata(out / "train.txt"), read_metadata(out / "val.txt")
    assert len(train) + len(val) == 12 and train and val
    assert all(map(is_held, val)) and not any(map(is_held, train))
    assert len(IdMaps.load(out).speakers) == 2  # a held-out speaker has a number too


@pytest.mark.parametrize(
    ("by", "hold_out", "message"),
    [
        ("speaker", ["Actor_07"], "has the speaker 'Actor_07'; known: Actor_01, Actor_02"),
        ("statement", ["03"], "has the statement '03'; known: 01, 02"),
        ("speaker_emotion", ["Actor_01/calm"], "'Actor_01/calm'; known: Actor_01/angry, Actor_01/happy"),
        ("suggested", ["dev"], "no utterance has the suggested split 'dev'; known: none, or prepare_align.py did not"),
        ("speaker", ["Actor_01", "Actor_02"], "holds out every utterance"),
    ],
)
def test_impossible_splits_are_refused_before_anything_is_touched(raw, by, hold_out, message):
    out = run(raw)
    before = tree(out)
    (out / "val.txt").unlink()
    with pytest.raises(UserError, match=message):
        run(raw, *split(by, *hold_out))
    with pytest.raises(UserError, match="val_size is 12, but there are 12 utterances"):
        run(raw, "preprocess.preprocessing.val_size=12")
    before.pop("val.txt")
    assert tree(out) == before


def held_at_random(keys, seed, size):
    chooser = Chooser(Split(seed=seed), size, None, Path("val.txt"))
    for key in keys:
        chooser.see(key, Facts())
    validates = chooser.choose()
    return {key for number, key in enumerate(keys) if validates(number, key, Facts())}


def test_a_random_split_depends_on_the_seed_alone():
    keys = [(f"Actor_{n:02d}", f"sad-{n}") for n in range(20)]
    chosen = held_at_random(keys, 1, 5)
    assert len(chosen) == 5 and chosen == held_at_random(keys, 1, 5) != held_at_random(keys, 2, 5)
    assert chosen == set(random.Random(1).sample(keys, 5))


@pytest.mark.parametrize("hold_out", [("val",), ("val", "test"), ("test",)])
def test_the_split_that_the_corpus_suggests(raw, hold_out):
    suggested = dict(zip(("01", "02"), ("train", "test"), strict=True))
    facts = {"angry-normal-01-01-Actor_01": "val"}  # all the others by their statement
    for folder in (raw / "raw").iterdir():
        made = {path.stem: facts.get(path.stem, suggested[path.stem.split("-")[2]]) for path in folder.glob("*.wav")}
        write_manifest(folder, {name: Facts(split=split) for name, split in made.items()})
        facts |= made
    out = run(raw, *split("suggested", *hold_out))
    assert set(names(out / "val.txt")) == {name for name, split in facts.items() if split in hold_out}
    assert len(names(out / "train.txt")) == 12 - len(names(out / "val.txt"))
    with pytest.raises(UserError, match="no utterance has the suggested split 'dev'; known: test, train, val"):
        run(raw, *split("suggested", "dev"), output="other")


# ------------------------------------------------------------------------------------- languages, missing labels


def take_labels(raw, speakers=("Actor_01", "Actor_02")):
    """Rename the utterances as those of a corpus without emotion labels are."""
    for path in sorted(raw.glob("*/Actor_*/*")):
        if path.parent.name in speakers and path.suffix != ".json":
            path.rename(path.with_name(f"none-{path.name}"))


def test_unlabelled_utterances_are_used_and_have_no_emotion_id(raw):
    take_labels(raw, ("Actor_02",))
    out = run(raw, *split("speaker_emotion", "Actor_02/none"))
    assert {entry.emotion for entry in read_metadata(out / "train.txt")} == {"angry", "happy", "sad"}
    assert {(entry.speaker, entry.emotion) for entry in read_metadata(out / "val.txt")} == {("Actor_02", None)}
    assert IdMaps.load(out).emotions == {"angry": 0, "happy": 1, "sad": 2}
    part = stats(out)["emotions"]["none"]
    assert (part["utterances"], part["speakers"]) == (6, 1)
    assert part["hours"] == pytest.approx(stats(out)["hours"] / 2, abs=1e-4)


def test_a_dataset_without_any_label_is_refused_before_anything_is_touched(raw):
    take_labels(raw)
    command = [sys.executable, str(ROOT / "preprocess.py"), *arguments(raw)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and not (raw / "out").exists()
    assert "no utterance that can be used has an emotion label; join a corpus with labels" in result.stderr


def test_labels_that_are_all_skipped_are_no_labels(raw):
    take_labels(raw, ("Actor_02",))
    for path in (raw / "grids/Actor_01").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="no utterance that can be used has an emotion label"):
        run(raw)
    assert not (raw / "out/train.txt").exists()


def test_labels_that_are_all_held_out_are_no_labels(raw):
    take_labels(raw, ("Actor_02",))
    with pytest.raises(UserError, match=r"split holds out every utterance with an emotion label"):
        run(raw, *split("speaker", "Actor_01"))
    assert not (raw / "out/train.txt").exists()


def test_languages_come_from_the_corpus_or_are_the_first_of_the_dataset(raw):
    write_manifest(raw / "raw/Actor_02", {path.stem: Facts(language="zh") for path in (raw / "raw/Actor_02").iterdir()})
    languages = "preprocess.preprocessing.text.languages"
    with pytest.raises(UserError, match=r"Actor_02/angry-.*wav is in zh, but .*languages are en, ko; add zh there"):
        run(raw, f"{languages}=[en, ko]")
    assert not (raw / "out").exists()
    out = run(raw, f"{languages}=[ko, zh]")
    entries = read_metadata(out / "train.txt") + read_metadata(out / "val.txt")
    assert {(entry.speaker, entry.language) for entry in entries} == {("Actor_01", "ko"), ("Actor_02", "zh")}
    assert list(stats(out)["languages"]) == ["ko", "zh"] and stats(out)["languages"]["zh"]["utterances"] == 6


# ------------------------------------------------------------------------------------------------ a given val.txt


@pytest.mark.parametrize("form", ["{}|Actor_01|{{K}}|Kid\n", "{}\n"])
def test_a_given_val_is_respected_run_after_run(raw, form, capsys):
    out = raw / "out"
    out.mkdir()
    given = [NAME, "sad-normal-02-01-Actor_02"]
    (out / "val.txt").write_text("".join(map(form.format, given)))
    run(raw)
    assert names(out / "val.txt") == given and len(names(out / "train.txt")) == 10
    assert "given val.txt" in capsys.readouterr().out
    first = tree(out)
    run(raw)
    assert tree(out) == first


def test_a_given_line_means_its_own_speaker_where_several_share_a_name(raw):
    for kind, suffix in (("raw", "wav"), ("raw", "lab"), ("grids", "TextGrid")):
        other = raw / kind / "Actor_02" / f"{NAME}.{suffix}"
        other.write_bytes((raw / kind / SPEAKER / f"{NAME}.{suffix}").read_bytes())
    out = raw / "out"
    out.mkdir()
    (out / "val.txt").write_text(f"{NAME}|Actor_02|{{K}}|Kid\n")
    for _ in range(2):
        run(raw)
        assert [entry.key for entry in read_metadata(out / "val.txt")] == [("Actor_02", NAME)]
    (out / "val.txt").write_text(f"{NAME}\n")
    run(raw)
    assert [entry.key for entry in read_metadata(out / "val.txt")] == [("Actor_01", NAME), ("Actor_02", NAME)]


def test_a_given_name_that_is_skipped_is_reported_and_remembered(raw, capsys):
    out = raw / "out"
    out.mkdir()
    given = [NAME, "sad-normal-02-01-Actor_02"]
    (out / "val.txt").write_text("\n".join(given))
    (raw / GRID).rename(raw / "aside")
    run(raw)
    assert names(out / "val.txt") == given[1:] and f"not usable, such as {NAME}" in capsys.readouterr().out
    (raw / "aside").rename(raw / GRID)
    run(raw)
    assert names(out / "val.txt") == given and NAME not in names(out / "train.txt")


def test_our_own_val_does_not_bind_the_next_run_but_an_edited_one_does(raw):
    out = run(raw)
    run(raw, *split("speaker", "Actor_02"))
    assert {entry.speaker for entry in read_metadata(out / "val.txt")} == {"Actor_02"}
    (out / "val.txt").write_text(f"{NAME}\n")
    run(raw)
    assert names(out / "val.txt") == [NAME]
    (out / "val.txt").unlink()
    run(raw)
    assert len(names(out / "val.txt")) == 3


def test_a_foreign_val_is_refused(raw):
    out = raw / "out"
    out.mkdir()
    (out / "val.txt").write_text("angry-normal-01-Actor_01|Actor_01|{K}|Kid\n")
    with pytest.raises(UserError, match=r"none of its 1 names is an utterance here .*'angry-normal-01-Actor_01'"):
        run(raw)
    (out / "val.txt").write_text("\n".join(path.stem for path in (raw / "raw").glob("*/*.wav")))
    with pytest.raises(UserError, match="names every utterance"):
        run(raw)
    assert [path.name for path in out.iterdir()] == ["val.txt"]


# -------------------------------------------------------------------------------------------- speaker embeddings


class LoudnessEmbedder:
    """Stands in for DeepSpeaker, whose weights are 97 MB and whose own tests compare it with golden numbers."""

    @classmethod
    def from_keras(cls, path, device=None):
        return cls()

    def __call__(self, wav, sampling_rate):
        return np.full(512, np.abs(wav).mean(), dtype=np.float32)


def test_a_speaker_embedding_is_the_mean_over_the_utterances(raw, monkeypatch):
    monkeypatch.setattr("deepspeaker.SpeakerEmbedder", LoudnessEmbedder)
    features._embedder.cache_clear()
    out = run(raw, "preprocess.preprocessing.speaker_embedder=DeepSpeaker")
    features._embedder.cache_clear()
    for speaker in ("Actor_01", "Actor_02"):
        wavs = [soundfile.read(path)[0] for path in (raw / "raw" / speaker).glob("*.wav")]
        embedding = np.load(out / f"spker_embed/{speaker}-spker_embed.npy")
        assert embedding.shape == (1, 512) and embedding.dtype == np.float32
        assert embedding == pytest.approx(np.mean([np.abs(wav).mean() for wav in wavs]), rel=1e-4)


def test_missing_embedder_weights_stop_before_the_work(raw):
    with pytest.raises(UserError, match=r"nowhere\.h5"):
        run(
            raw, "preprocess.preprocessing.speaker_embedder=DeepSpeaker",
            "preprocess.preprocessing.speaker_embedder_checkpoint=nowhere.h5",
        )  # fmt: skip
    assert not (raw / "out").exists()


@pytest.mark.parametrize("speakers", [("Actor_01",), ("Actor_01", "Actor_02")])
def test_the_plot_is_there_and_repeatable_however_few_utterances(tmp_path, speakers):
    write_raw(tmp_path / "raw", tmp_path / "grids", speakers, emotions=("angry",))
    (tmp_path / "grids/Actor_01/angry-normal-02-01-Actor_01.TextGrid").unlink()
    first = (run(tmp_path, "preprocess.preprocessing.val_size=0") / "spker_embed_tsne.png").read_bytes()
    again = (run(tmp_path, "preprocess.preprocessing.val_size=0", output="b") / "spker_embed_tsne.png").read_bytes()
    assert first.startswith(b"\x89PNG") and first == again


@pytest.mark.data
def test_real_recordings_from_corpus_to_plot(tmp_path):
    for actor in ("Actor_01", "Actor_14"):
        (tmp_path / "corpus" / actor).mkdir(parents=True)
        for path in sorted(real_data(f"RAVDESS/{actor}").glob("*.flac"))[:12]:
            (tmp_path / "corpus" / actor / path.name).symlink_to(path)
    place = f"preprocess.path.raw_path={tmp_path / 'raw'}"
    prepare_align.main(
        ["--dataset", "RAVDESS", "--corpus_path", str(tmp_path / "corpus"), "--jobs", "1", "--set", place]
    )
    (tmp_path / "grids").symlink_to(real_data("TextGrid"))
    out = run(tmp_path)
    assert not skipped(out) and stats(out)["utterances"] == 24
    assert 60 < stats(out)["longest_utterance"]["frames"] < 320 and 17 < stats(out)["longest_text"]["phones"] < 21
    assert (out / "spker_embed_tsne.png").read_bytes() == (
        run(tmp_path, output="b") / "spker_embed_tsne.png"
    ).read_bytes()
