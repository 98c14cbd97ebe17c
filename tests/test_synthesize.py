"""synthesize.py and evaluate.py as real processes on a model that was really trained, if only for a few steps."""

import json
import pickle
import re

import numpy as np
import pytest
import soundfile
import torch

from errors import UserError
from synthesis.requests import batch_requests
from tests.paths import golden, real_data
from tests.processes import assert_ok, assert_refused, run_script, with_overrides
from tests.tiny import make_tiny_dataset, tiny_overrides
from utils.metadata import IdMaps

TEXT = "Kids are talking by the door"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(overrides, folder) of a model that has seen 40 steps: enough for durations above zero."""
    folder = tmp_path_factory.mktemp("trained")
    overrides = tiny_overrides(make_tiny_dataset(folder / "data"), folder)
    steps = ["train.step.total_step=40", "train.step.save_step=20", "train.step.synth_step=1000"]
    assert_ok(run_script("train.py", "--dataset", "Sample", *with_overrides([*overrides, *steps])))
    return overrides, folder


def base(trained, *more: object) -> list[object]:
    return ["--dataset", "Sample", *with_overrides(trained[0]), *more]


def single(trained, *more: object, step: object = "latest") -> list[object]:
    return base(trained, "--restore_step", step, "--mode", "single", *more)


def written(result, suffix=".wav"):
    from pathlib import Path

    return [Path(path) for path in re.findall(rf"wrote (\S+{suffix})", result.stdout)]


def check_wav(path):
    wav, rate = soundfile.read(path)
    assert rate == 22050 and wav.ndim == 1
    assert len(wav) > 2000
    assert np.isfinite(wav).all() and 1e-4 < np.abs(wav).max() <= 1.0
    return wav


def test_single_by_label(trained):
    speaker, emotion = ("--speaker_id", "Actor_01"), ("--emotion_id", "happy")
    result = run_script("synthesize.py", *single(trained, "--text", TEXT, *speaker, *emotion))
    assert_ok(result)
    (path,) = written(result)
    assert path.parent == trained[1] / "result" / "40"
    wav = check_wav(path)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    made = json.loads(path.with_suffix(".json").read_text())
    assert made["speaker"] == "Actor_01" and made["emotion"] == "happy" and made["step"] == 40
    assert made["emotion_weights"]["happy"] == 1.0
    assert made["vocoder"].startswith("Griffin-Lim")
    assert " ".join(made["chunks"][0]["phones"]) == "K IH1 D Z AA1 R T AO1 K IH0 NG B AY1 DH AH0 D AO1 R"
    assert sum(made["chunks"][0]["frames"]) * 256 == len(wav)
    assert made["seconds"] == pytest.approx(len(wav) / 22050, abs=1e-3)
    assert "Kids -> K IH1 D Z (dictionary)" in result.stdout
    again = run_script("synthesize.py", *single(trained, "--text", TEXT, *speaker, *emotion, "--name", "again"))
    assert_ok(again)
    assert written(again)[0].read_bytes() == path.read_bytes()  # deterministic


def test_every_emotion_and_one_picture(trained):
    flags = ("--speaker_id", "Actor_02", "--emotion_id", "all", "--name", "every")
    result = run_script("synthesize.py", *single(trained, "--text", TEXT, *flags, step=20))
    assert_ok(result)
    wavs = written(result)
    assert [path.stem for path in wavs] == [f"every_{name}" for name in ("angry", "calm", "happy", "sad")]
    assert len({path.read_bytes() for path in wavs}) == 4
    assert (trained[1] / "result" / "20" / "every.png").exists()


@pytest.mark.parametrize(
    ("rate", "channels", "name"), [(8000, 1, "no rule.wav"), (48000, 2, "…ümläut.flac"), (44100, 5, "-.ogg")]
)
def test_any_audio_serves_as_reference(trained, tmp_path, rate, channels, name):
    time = np.arange(int(1.2 * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * (150 + 40 * time) * time) * (time > 0.2) * (time < 1.0)
    soundfile.write(tmp_path / name, np.repeat(tone[:, None], channels, 1), rate)
    flags = ("--speaker_id", "Actor_01", "--ref_audio", tmp_path / name, "--name", "soft")
    result = run_script("synthesize.py", *single(trained, "--text", TEXT, *flags))
    assert_ok(result)
    assert "emotion heard:" in result.stdout
    check_wav(written(result)[0])
    weights = json.loads(written(result)[0].with_suffix(".json").read_text())["emotion_weights"]
    assert sum(weights.values()) == pytest.approx(1.0, abs=1e-3)


def test_a_real_recording_as_reference(trained):
    recording = real_data("RAVDESS/Actor_01/03-01-05-02-01-01-01.flac")
    flags = ("--speaker_id", "Actor_02", "--ref_audio", recording, "--name", "real")
    assert_ok(run_script("synthesize.py", *single(trained, "--text", TEXT, *flags)))


def test_batch_of_a_metadata_file(trained, tmp_path):
    source = trained[1] / "data" / "val.txt"
    flags = ("--restore_step", "latest", "--mode", "batch", "--source", source, "--output")
    for size, folder in ((3, "three"), (1, "one")):
        assert_ok(run_script("synthesize.py", *base(trained, *flags, tmp_path / folder, "--batch_size", size)))
    names = [line.split("|")[0] for line in source.read_text().splitlines()]
    assert sorted(path.stem for path in (tmp_path / "three").glob("*.wav")) == sorted(names)
    for name in names:
        made = json.loads((tmp_path / "three" / f"{name}.json").read_text())
        assert made["emotion"] == name.split("-")[0] and made["speaker"] == name.split("-")[-1]
        # what an utterance sounds like does not depend on its batch
        assert np.allclose(
            check_wav(tmp_path / "three" / f"{name}.wav"), check_wav(tmp_path / "one" / f"{name}.wav"), atol=2e-3
        )


def test_lines_without_an_emotion_take_that_of_the_command_line(trained, tmp_path):
    lines = ["none-1|Actor_01|{K IH1 D Z}|kids", "none-1|Actor_02|{K IH1 D Z}|kids", "sad-1|Actor_02|{D AO1 G}|dog"]
    (tmp_path / "lines.txt").write_text("\n\n".join(lines))
    flags = ("--restore_step", "latest", "--mode", "batch", "--source", tmp_path / "lines.txt", "--output", tmp_path)
    assert_ok(run_script("synthesize.py", *base(trained, *flags, "--emotion_id", "calm")))
    made = {path.stem: json.loads(path.read_text())["emotion"] for path in tmp_path.glob("*.json")}
    assert made == {"Actor_01_none-1": "calm", "Actor_02_none-1": "calm", "sad-1": "sad"}
    with pytest.raises(UserError, match="unknown emotion 'all'; known: calm, sad"):
        batch_requests(tmp_path / "lines.txt", IdMaps.of(["Actor_01", "Actor_02"], ["calm", "sad"]), "all")
    other = run_script("synthesize.py", *base(trained, *flags, "--emotion_id", "sad", "--name", "x"))
    assert_refused(other, "--name belongs to --mode single")


@pytest.mark.slow
def test_a_text_of_5000_words(trained, tmp_path):
    words = " ".join(f"{TEXT.lower()}, {'and ' * (i % 3)}so it goes {i}." for i in range(500))
    assert len(words.split()) >= 5000
    flags = ("--speaker_id", "Actor_01", "--emotion_id", "sad", "--name", "long", "--output", tmp_path)
    result = run_script("synthesize.py", *single(trained, "--text", words, *flags, "--speed", "4"))
    assert_ok(result)
    made = json.loads((tmp_path / "long.json").read_text())
    assert len(made["chunks"]) > 100
    assert sum(len(chunk["words"]) for chunk in made["chunks"]) >= 5000
    assert len(check_wav(tmp_path / "long.wav")) > 22050 * 60


@pytest.mark.parametrize(
    ("flags", "patterns"),
    [
        (
            ["--text", TEXT, "--speaker_id", "Actor_09", "--emotion_id", "sad"],
            ["unknown speaker 'Actor_09'", "Actor_01"],
        ),
        (["--text", TEXT, "--speaker_id", "Actor_01", "--emotion_id", "joy"], ["unknown emotion 'joy'", "happy"]),
        (["--text", TEXT, "--speaker_id", "Actor_01"], ["either --emotion_id or --ref_audio"]),
        (
            ["--text", TEXT, "--speaker_id", "Actor_01", "--emotion_id", "sad", "--ref_audio", "x.wav"],
            ["either --emotion_id or --ref_audio", "not both"],
        ),
        (["--text", TEXT, "--emotion_id", "sad"], ["--speaker_id"]),
        (["--speaker_id", "Actor_01", "--emotion_id", "sad"], ["--text"]),
        (["--text", "  ", "--speaker_id", "Actor_01", "--emotion_id", "sad"], ["empty"]),
        (["--text", "…!?", "--speaker_id", "Actor_01", "--emotion_id", "sad"], ["nothing to speak"]),
        (["--text", "{QQ}", "--speaker_id", "Actor_01", "--emotion_id", "sad"], ["QQ"]),
        (["--text", TEXT, "--speaker_id", "Actor_01", "--ref_audio", "missing.wav"], ["missing.wav"]),
        (["--text", TEXT, "--speaker_id", "Actor_01", "--emotion_id", "sad", "--speed", "9"], ["0.25 … 4"]),
        (["--text", TEXT, "--speaker_id", "Actor_01", "--emotion_id", "sad", "--source", "x"], ["--source belongs"]),
        (
            [
                "--text",
                TEXT,
                "--speaker_id",
                "Actor_01",
                "--emotion_id",
                "sad",
                "--set",
                "model.vocoder.model=HiFi-GAN",
            ],
            ["generator_universal.pth.tar", "github.com/jik876/hifi-gan"],
        ),
    ],
)
def test_single_mode_refuses(trained, tmp_path, flags, patterns):
    result = run_script("synthesize.py", *single(trained, *flags, "--output", tmp_path / "out"))
    assert_refused(result, *patterns)
    assert not (tmp_path / "out").exists()


def test_unknown_step_lists_the_known_ones(trained):
    flags = ("--text", TEXT, "--speaker_id", "Actor_01", "--emotion_id", "sad")
    assert_refused(run_script("synthesize.py", *single(trained, *flags, step=7)), "no checkpoint of step 7", "20, 40")


def test_broken_references_are_named(trained, tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "silent.wav", np.zeros(20000), 22050)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 22050)
    soundfile.write(tmp_path / "nan.wav", np.full(20000, np.nan, np.float32), 22050, subtype="FLOAT")
    for name in ("text.wav", "silent.wav", "empty.wav", "nan.wav"):
        flags = ("--text", TEXT, "--speaker_id", "Actor_01", "--ref_audio", tmp_path / name)
        assert_refused(run_script("synthesize.py", *single(trained, *flags, "--output", tmp_path / "out")), name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "patterns"),
    [
        ("happy-normal-01-01-Actor_01|Actor_01|{K IH1 D Z}", [r"lines.txt:2"]),
        ("happy-normal-01-01-Actor_01|Actor_01|K IH1 D Z|text", [r"lines.txt:2"]),
        ("../../x-Actor_01|Actor_01|{K IH1 D Z}|text", [r"lines.txt:2"]),
        ("happy-x|Actor_77|{K IH1 D Z}|text", [r"lines.txt:2: happy-x: unknown speaker 'Actor_77'"]),
        ("bored-x|Actor_01|{K IH1 D Z}|text", [r"lines.txt:2: bored-x: unknown emotion 'bored'"]),
        ("happy-x|Actor_01|{K QQ D Z}|text", [r"lines.txt:2: happy-x: .*QQ"]),
        ("none-x|Actor_01|{K IH1 D Z}|text", [r"lines.txt:2: none-x has no emotion"]),
    ],
)
def test_a_bad_line_of_a_batch_fails_alone(trained, tmp_path, line, patterns):
    """It is told with its number, the other is spoken, the exit code is 2; with no other nothing is written."""
    good = "happy-good|Actor_01|{K IH1 D Z}|kids\n"
    (tmp_path / "lines.txt").write_text(good + line + "\n")
    flags = ("--restore_step", "latest", "--mode", "batch", "--source", tmp_path / "lines.txt")
    result = run_script("synthesize.py", *base(trained, *flags, "--output", tmp_path / "out"))
    told = [told for told in result.stderr.splitlines() if told.startswith("error: ")]
    assert result.returncode == 2 and "Traceback" not in result.stderr and len(told) == 2, result.stderr
    assert all(re.search(pattern, told[0]) for pattern in patterns), told
    assert re.search(r"1 of 2 lines of \S+ were not spoken", told[1])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"happy-good.{kind}" for kind in ("json", "png", "wav")
    ]
    (tmp_path / "lines.txt").write_text("\n" + line + "\n")
    assert_refused(run_script("synthesize.py", *base(trained, *flags, "--output", tmp_path / "none")), *patterns)
    assert not (tmp_path / "none").exists()


class Malicious:
    """Unpickling this would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_damaged_and_foreign_checkpoints_are_refused(trained, tmp_path):
    good = (trained[1] / "ckpt" / "40.pth.tar").read_bytes()
    folder = tmp_path / "ckpt"
    folder.mkdir()
    (folder / "1.pth.tar").write_bytes(good[: len(good) // 2])
    (folder / "2.pth.tar").write_bytes(b"")
    (folder / "3.pth.tar").write_bytes(b"this is no checkpoint")
    torch.save({"generator": {}}, folder / "4.pth.tar")
    torch.save({"model": {"weight": torch.zeros(2)}}, folder / "5.pth.tar")
    torch.save({"model": {}, "evil": Malicious(tmp_path / "ran")}, folder / "6.pth.tar")
    (folder / "7.pth.tar").write_bytes(pickle.dumps(Malicious(tmp_path / "ran")))
    flags = (
        "--text",
        TEXT,
        "--speaker_id",
        "Actor_01",
        "--emotion_id",
        "sad",
        "--set",
        f"train.path.ckpt_path={folder}",
    )
    for step in range(1, 8):
        assert_refused(run_script("synthesize.py", *single(trained, *flags, step=step)), rf"{step}\.pth\.tar")
    assert not (tmp_path / "ran").exists()


def test_golden_published_weights_speak(trained, tmp_path):
    """A checkpoint in the original's format and names: {"model": …, "optimizer": …}, configuration from config/."""
    from safetensors.torch import load_file

    state = load_file(golden("model_state_none.safetensors"))
    (tmp_path / "ckpt").mkdir()
    torch.save({"model": state, "optimizer": {"state": {}, "param_groups": []}}, tmp_path / "ckpt" / "900000.pth.tar")
    speakers = [f"Actor_{number:02d}" for number in range(1, 25)]
    emotions = ["angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised"]
    IdMaps.of(speakers, emotions).save(tmp_path)
    settings = [f"train.path.ckpt_path={tmp_path / 'ckpt'}", f"preprocess.path.preprocessed_path={tmp_path}"]
    settings += ["model.emotion_token_layer={mask_padding: false}"]  # and the original's encoder
    flags = ("--text", TEXT, "--speaker_id", "Actor_24", "--emotion_id", "surprised", "--output", tmp_path / "out")
    result = run_script("synthesize.py", *single(trained, *flags, *with_overrides(settings), step=900000))
    assert_ok(result)
    check_wav(written(result)[0])


def test_evaluate(trained, tmp_path):
    result = run_script("evaluate.py", *base(trained, "--restore_step", "latest", "--output", tmp_path))
    assert_ok(result)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["step"] == 40 and report["overall"]["utterances"] == 8 == len(report["utterances"])
    assert set(report["emotions"]) == {"angry", "calm", "happy", "sad"}
    assert set(report["speakers"]) == {"Actor_01", "Actor_02"}
    # the mean over groups of equal size is the overall mean, and frame-weighted it is the loss
    groups = [group["mel_mae"] for group in report["speakers"].values()]
    assert np.mean(groups) == pytest.approx(report["overall"]["mel_mae"], abs=1e-3)
    frames = [utterance["frames"] for utterance in report["utterances"]]
    weighted = np.average([utterance["mel_mae"] for utterance in report["utterances"]], weights=frames)
    assert weighted == pytest.approx(report["losses"]["mel_last"], rel=1e-4)
    assert np.array(report["confusion"]["counts"]).sum() == 8
    assert "| Actor_02 |" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "confusion.png").exists()
    # the same number as training logged for this step
    from tests.test_train import scalars

    logged = scalars(trained[1], "val", "loss/total")[40]
    assert report["losses"]["total"] == pytest.approx(logged, rel=1e-4)
