"""train_vocoder.py as a real process: it learns, resumes exactly, shares work, and what it writes speaks."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import preprocess
import train
import train_vocoder
from config import load_config
from errors import UserError
from preprocessor import corpus_files
from tests.comparing import equal
from tests.processes import ENVIRONMENT, assert_ok, assert_refused, command, run_script, wait_for, with_overrides
from tests.small_corpus import RATE, write_raw
from tests.test_train import scalars
from tests.tiny import tiny_overrides
from training.processes import Process
from utils.checkpoint import known_steps
from utils.metadata import read_metadata
from vocoder import load_vocoder
from vocoder_training.data import find_data
from vocoder_training.pitch import STEP_SECONDS, kept_track, track
from vocoder_training.pitch_fit import EDGE, FRAMES, PitchFit
from vocoder_training.predicted import with_predicted_mels
from vocoder_training.recordings import Recordings
from vocoder_training.segments import SegmentSampler, SegmentSettings
from vocoder_training.trainer import VocoderTrainer

CPU = Process(0, 1, torch.device("cpu"))


def voice(seconds: float, f0: float, seed: int) -> np.ndarray:
    """Harmonics of a gliding pitch, a little noise, silence at both ends: [samples], peak 0.5."""
    time = np.arange(int(seconds * RATE)) / RATE
    cycles = f0 * (time + 0.2 * time**2)
    wav = sum(np.sin(2 * np.pi * number * cycles) / number for number in range(1, 12))
    wav += 0.05 * np.random.default_rng(seed).standard_normal(len(time))
    wav *= np.clip(np.minimum(time - 0.08, seconds - 0.08 - time) / 0.03, 0.001, 1)
    return (0.5 * wav / np.abs(wav).max()).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """12 recordings of 0.7 s, preprocessed, 3 held out."""
    root = tmp_path_factory.mktemp("vocoder")
    write_raw(root / "raw", root / "grids")
    for number, path in enumerate(sorted((root / "raw").glob("*/*.wav"))):
        soundfile.write(path, voice(0.7, 110 + 15 * number, number), RATE, subtype="PCM_16")
    flags = with_overrides([*paths(root), "preprocess.preprocessing.val_size=3"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_files, "plot_speakers", lambda path, *_: path.write_bytes(b""))
        preprocess.main(["--dataset", "Sample", "--textgrids", str(root / "grids"), "--jobs", "1", *flags])
    return root


def paths(root: Path) -> list[str]:
    return [f"preprocess.path.raw_path={root / 'raw'}", f"preprocess.path.preprocessed_path={root / 'features'}"]


def overrides(root: Path, output: Path, *more: str) -> list[str]:
    """Small everywhere; discriminators from step 2 on."""
    return [
        *paths(root),
        f"vocoder.path.ckpt_path={output / 'ckpt'}",
        f"vocoder.path.log_path={output / 'log'}",
        f"vocoder.path.pitch_path={root / 'pitch'}",
        "vocoder.architecture=fourier_tiny",
        "vocoder.optimizer.batch_size=4",
        "vocoder.optimizer.learning_rate=2.0e-3",
        "vocoder.discriminators.periods=[2, 3]",
        "vocoder.discriminators.period_channels=[4, 8, 8]",
        "vocoder.discriminators.resolution_channels=4",
        "vocoder.discriminators.resolutions=[[512, 128, 512]]",
        "vocoder.loss.resolutions=[[512, 128, 512], [1024, 256, 1024]]",
        "vocoder.adversarial_from_step=2",
        "vocoder.step.log_step=1",
        "vocoder.step.val_step=1000",
        "vocoder.step.synth_step=1000",
        "vocoder.step.save_step=3",
        "vocoder.step.total_step=6",
        *more,
    ]


def flags(root: Path, output: Path, *more: str) -> list[str]:
    return ["--dataset", "Sample", *with_overrides(overrides(root, output, *more))]


def trainer_of(root: Path, output: Path, *more: str) -> VocoderTrainer:
    config = load_config("Sample", overrides(root, output, *more))
    trainer = VocoderTrainer(config, find_data(config), CPU, use_amp=False, restore_step=None)
    trainer.begin()
    return trainer


@pytest.fixture(scope="module")
def run6(data, tmp_path_factory):
    """An unbroken run of 6 steps."""
    output = tmp_path_factory.mktemp("unbroken")
    result = run_script("train_vocoder.py", *flags(data, output))
    assert_ok(result)
    assert "saved" in result.stdout and "generator_6.pth.tar" in result.stdout
    return output


def load(output: Path, step: int):
    return torch.load(output / "ckpt" / f"{step}.pth.tar", weights_only=True)


def test_a_killed_run_goes_on_bit_for_bit(data, run6, tmp_path):
    arguments = flags(data, tmp_path)
    process = subprocess.Popen(command("train_vocoder.py", *arguments), env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "ckpt" / "3.pth.tar").exists() or process.poll() is not None, 120)
    process.kill()
    process.wait()
    for late in (tmp_path / "ckpt").glob("*6.*"):  # should the kill have come too late
        late.unlink()
    assert_ok(run_script("train_vocoder.py", *arguments, "--restore_step", "3"))
    for part in ("generator", "running", "discriminators", "generator_optimizer", "discriminators_optimizer"):
        assert equal(load(tmp_path, 6)[part], load(run6, 6)[part]), part
    for tag in ("loss/mel", "loss/adversarial", "loss/discriminators", "gradient_norm"):
        unbroken, resumed = scalars(run6, "train", tag), scalars(tmp_path, "train", tag)
        assert {step: value for step, value in resumed.items() if step > 3} == {
            step: value for step, value in unbroken.items() if step > 3
        }


def test_two_processes_train_as_one(data, run6, tmp_path):
    two = flags(data, tmp_path, "vocoder.optimizer.batch_size=2")
    assert_ok(run_script("train_vocoder.py", *two, "--device", "cpu:2"))
    first = ("loss/mel", "loss/stft", "loss/pitch", "loss/voicing", "gradient_norm")
    later = ("loss/adversarial", "loss/feature_matching", "loss/discriminators", "discriminators_gradient_norm")
    for tag in (*first, *later):
        one, other = scalars(run6, "train", tag), scalars(tmp_path, "train", tag)
        assert one.keys() == other.keys()
        # Adam's first step is the gradients' signs: where one is near 0, rounding decides
        assert other == pytest.approx(one, rel=0.1 if "norm" in tag else 0.03), tag
        assert tag in later or other[1] == pytest.approx(one[1], rel=1e-4), tag


def test_discriminators_come_when_it_is_their_time(run6):
    assert set(scalars(run6, "train", "loss/adversarial")) == {3, 4, 5, 6}
    assert set(scalars(run6, "train", "loss/stft")) == {1, 2, 3, 4, 5, 6}
    assert {"loss/mel", "loss/stft"} <= set(tags(run6)["scalars"])
    assert tags(run6)["images"] and set(tags(run6)["audio"]) == {"audio/copy", "audio/recording"}


def tags(output: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(output / "log" / "val"))
    accumulator.Reload()
    return accumulator.Tags()


def test_exported_weights_speak_as_trained(data, run6):
    """vocoder.py's waveform of generator_6 is that of the running mean of the weights in checkpoint 6."""
    assert_speaks(data, run6 / "ckpt" / "generator_6.pth.tar", load(run6, 6)["running"], "fourier_tiny")


def test_hifigan_trains_and_speaks(data, tmp_path):
    trainer = trainer_of(data, tmp_path, *HIFIGAN)
    for _ in range(2):
        metrics, _ = trainer.advance(0)
    assert {"loss/mel", "loss/adversarial", "loss/feature_matching", "loss/discriminators"} <= metrics.keys()
    assert "loss/stft" not in metrics and all(torch.isfinite(value) for value in metrics.values())
    assert_speaks(data, trainer.save(), trainer.state.trainee.generator.state_dict(), "hifigan_v3")


HIFIGAN = (
    "vocoder.architecture=hifigan_v3", "vocoder.loss.stft=0.0", "vocoder.data.segment_size=2048",
    "vocoder.adversarial_from_step=0", "vocoder.data.context=0", "vocoder.optimizer.batch_size=2",
    "vocoder.discriminators.kinds=[multi_period]", "vocoder.optimizer.ema=0.0",
)  # fmt: skip


def assert_speaks(data, path: Path, state, architecture: str) -> None:
    from vocoder_training.generators import new_trainee, prepare

    config = load_config(
        "Sample", [*paths(data), f"vocoder.architecture={architecture}", f"model.vocoder.checkpoint={path}"]
    )
    trainee = prepare(new_trainee(config))
    trainee.generator.load_state_dict(state)
    mel = torch.randn(20, 80) - 4
    with torch.no_grad():
        wanted = trainee.generator.eval()(mel.T[None])[0].clamp(-1, 1)
    (wav,) = load_vocoder(config, torch.device("cpu"))(mel[None])
    assert wav.shape == (20 * 256,) and torch.allclose(wav, wanted, atol=1e-4)
    assert json.loads(path.with_name(path.name.replace(".pth.tar", ".json")).read_text())["fmax"] == 8000.0


def test_it_learns(data, tmp_path):
    """Also with discriminators: a copy comes nearer to recordings that were never trained on."""
    trainer = trainer_of(data, tmp_path, "vocoder.adversarial_from_step=60", "vocoder.optimizer.ema=0.9")
    losses = {}
    from vocoder_training.validation import Validator

    validator = Validator(trainer.data, trainer.spectral, 3, CPU.device)
    for step in range(81):
        if step in (0, 60, 80):
            losses[step] = validator.losses(trainer.state.running.module)
        trainer.advance(0)
    # corrections bring even the first copies near
    assert losses[60]["mel"] < 0.93 * losses[0]["mel"] and losses[60]["stft"] < 0.98 * losses[0]["stft"]
    assert losses[80]["mel"] < 0.9 * losses[0]["mel"]


def test_old_states_go_and_generators_stay(data, tmp_path):
    trainer = trainer_of(data, tmp_path, "vocoder.step.keep_states=2")
    for step in (2, 4, 6):
        trainer.state.step = step
        trainer.save()
    assert known_steps(tmp_path / "ckpt") == [4, 6]
    assert len(list((tmp_path / "ckpt").glob("generator_*.pth.tar"))) == 3


def test_weights_to_begin_with_are_taken_over(data, run6, tmp_path):
    initial = run6 / "ckpt" / "generator_6.pth.tar"
    given = flags(data, tmp_path, "vocoder.step.total_step=1", "vocoder.optimizer.learning_rate=1.0e-12")
    train_vocoder.main([*given, "--initialise", str(initial), "--device", "cpu"])
    wanted = torch.load(initial, weights_only=True)["generator"]
    found = torch.load(tmp_path / "ckpt" / "generator_1.pth.tar", weights_only=True)["generator"]
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in wanted)


def test_fine_tuning_learns_from_predicted_mels(data, tmp_path, capsys):
    """Each predicted mel has the frames of the stored one, which are the recording's from the sample it begins at."""
    own = [*tiny_overrides(data / "features", tmp_path / "acoustic"), *paths(data), "train.step.total_step=2"]
    train.main(["--dataset", "Sample", "--device", "cpu", *with_overrides(own)])
    acoustic = f"train.path.ckpt_path={tmp_path / 'acoustic' / 'ckpt'}"
    given = [*flags(data, tmp_path, acoustic), "--finetune_from_step", "latest"]
    with pytest.raises(UserError, match=r"TextGrid .*--textgrids"):
        train_vocoder.main([*given, "--device", "cpu"])
    train_vocoder.main([*given, "--textgrids", str(data / "grids"), "--device", "cpu"])
    assert "on predicted mels" in capsys.readouterr().out
    config = load_config("Sample", overrides(data, tmp_path, acoustic))
    plain = find_data(config)
    tuned = with_predicted_mels(plain, config, "latest", data / "grids", CPU)
    assert tuned.train_mels is not None
    for index, entry in enumerate(plain.train.entries):
        mel, start = tuned.train_mels(index, False)
        stored = np.load(data / "features" / "mel" / f"{entry.speaker}-mel-{entry.name}.npy")
        assert mel.shape == stored.shape and not np.allclose(mel, stored)
        assert np.array_equal(tuned.train_mels(index, True)[0], stored)
        span = torch.from_numpy(plain.train[index].cut(start, (len(mel) - 1) * 256 + 1))[None]
        assert np.allclose(plain.front_end(span)[0][0].numpy()[2:-2], stored[2:-2], atol=1e-3)


def segments_of(data, world=1, rank=0, **changes):
    config = load_config("Sample", paths(data))
    recordings = Recordings(data / "features" / "train.txt", data / "raw", RATE, data / "pitch")
    settings = SegmentSettings(32, 256, 1024, 12 // world, 0.9, 0.5, (-12.0, 3.0), 7)
    return SegmentSampler(recordings, replace(settings, **changes), rank, world), config


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_fine_tuning_mixes_in_the_recordings_own_mels(data, share):
    """The mels say whose they are: 1 where the recording's own was asked for, else 0."""
    sampler, _ = segments_of(data, real_share=share)
    sampler.mels = lambda index, real: (np.full((64, 80), float(real), dtype=np.float32), 0)
    drawn = torch.cat([sampler.batch(step).mels[:, 0, 0] for step in range(20)])
    assert abs(float(drawn.mean()) - share) <= (0.12 if 0 < share < 1 else 0.0)


def test_processes_share_the_segments_of_one(data):
    whole, _ = segments_of(data)
    shares = [segments_of(data, 3, rank)[0] for rank in range(3)]
    for step in (0, 5):
        all_of_it, parts = whole.batch(step), [share.batch(step) for share in shares]
        for rank, part in enumerate(parts):
            assert torch.equal(part.wavs, all_of_it.wavs[rank::3]) and torch.equal(part.f0, all_of_it.f0[rank::3])
            assert torch.equal(part.noise[1], all_of_it.noise[1][rank::3])
    assert not torch.equal(whole.batch(0).wavs, whole.batch(1).wavs)


def test_gain_stays_in_its_range_and_never_clips(data):
    sampler, _ = segments_of(data, gain=(-6.0, 30.0))
    batch = sampler.batch(0)
    assert float(batch.wavs.abs().max()) <= 0.99 + 1e-6
    assert float(batch.gains.min()) >= 10 ** (-6 / 20) - 1e-6 and float(batch.gains.max()) < 31.7


def test_an_epoch_takes_every_utterance_once(data):
    sampler, _ = segments_of(data, batch_size=3)
    drawn = [sampler._utterance(position) for position in range(18)]
    assert sorted(drawn[:9]) == sorted(drawn[9:]) == list(range(9)) and drawn[:9] != drawn[9:]


def test_segments_lie_in_speech(data):
    """0.7 s recordings with 0.08 s of silence on either side: segments of 0.2 s that avoid it are never silent."""
    sampler, _ = segments_of(data, frames=16, speech_share=1.0)
    levels = torch.cat([sampler.batch(step).wavs.abs().amax(1) for step in range(5)])
    assert float(levels.min()) > 0.05


def test_pitch_follows_the_voice():
    wav, period = voice(1.0, 120, 0), round(STEP_SECONDS * RATE)
    found = track(wav, RATE).at(np.arange(int(0.3 * RATE), int(0.7 * RATE), period, dtype=np.int64))
    wanted = 120 * (1 + 0.4 * np.arange(int(0.3 * RATE), int(0.7 * RATE), period) / RATE)
    assert np.median(np.abs(1200 * np.log2(found / wanted))) < 10  # cents
    assert not track(wav, RATE).at(np.array([-5000, 10**7])).any()


def test_pitch_is_kept_until_the_recording_changes(tmp_path):
    path = tmp_path / "a.wav"
    for f0 in (120, 180):
        soundfile.write(path, voice(0.7, f0, 0), RATE, subtype="PCM_16")
        wav, folder = voice(0.7, f0, 0), tmp_path / "pitch"
        assert np.array_equal(kept_track(wav, RATE, path, folder).f0, track(wav, RATE).f0)
        assert np.array_equal(kept_track(0 * wav, RATE, path, folder).f0, track(wav, RATE).f0)  # read, not made
    kept = sorted(folder.iterdir())
    assert len(kept) == 2
    kept[-1].write_bytes(b"")
    assert np.array_equal(kept_track(wav, RATE, path, folder).f0, track(wav, RATE).f0)


@pytest.mark.parametrize(
    ("more", "flag", "pattern"),
    [
        (["vocoder.data.segment_size=1000"], [], "segment_size 1000"),
        (["vocoder.data.segment_size=512"], [], "above"),
        (["vocoder.loss.resolutions=[[512, 600, 512]]"], [], "hop <= window <= FFT"),
        (["vocoder.architecture=hifigan_v2", "preprocess.preprocessing.stft.hop_length=128"], [], "128"),
        (["preprocess.path.raw_path=/nowhere"], [], "prepare_align.py"),
        (["preprocess.path.preprocessed_path=/nowhere"], [], "preprocess.py"),
        ([], ["--restore_step", "7"], "train_vocoder.py"),
        ([], ["--restore_step", "7", "--initialise", "x"], "exclude"),
        ([], ["--initialise", "nowhere.pth.tar"], "nowhere.pth.tar"),
        ([], ["--finetune_from_step", "7"], "train.py"),
    ],
)
def test_what_is_wrong_is_named(data, tmp_path, more, flag, pattern):
    given = flags(data, tmp_path, f"train.path.ckpt_path={tmp_path / 'none'}", *more)
    with pytest.raises(UserError, match=pattern):
        train_vocoder.main([*given, *flag, "--device", "cpu"])
    assert not any(tmp_path.iterdir())


def test_a_run_is_not_overwritten_and_other_weights_are_refused(data, run6, tmp_path):
    assert_refused(run_script("train_vocoder.py", *flags(data, run6)), "up to step 6", "--from_scratch")
    with pytest.raises(UserError, match=r"vocoder\.architecture"):
        train_vocoder.main(
            [*flags(data, tmp_path, *HIFIGAN), "--initialise", str(run6 / "ckpt" / "generator_6.pth.tar")]
        )
    with pytest.raises(UserError, match="architecture is fourier_tiny there"):
        train_vocoder.main([*flags(data, run6, *HIFIGAN), "--restore_step", "6"])


def test_every_dataset_may_do_without_a_file_and_presets_give_way():
    for dataset in ("RAVDESS", "ESD", "generic"):
        own = load_config(dataset).vocoder
        assert own.architecture == "fourier" and own.adversarial_from_step > 0
        assert own.path.ckpt_path == f"output/ckpt_vocoder/{dataset}"
    official = load_config("ESD", ["vocoder.architecture=hifigan_v1", "vocoder.data.segment_size=4096"]).vocoder
    assert official.discriminators.kinds == ["multi_period", "multi_scale"] and official.adversarial_from_step == 0
    assert official.loss.model_dump(include={"mel", "stft", "feature_matching"}) == {
        "mel": 45.0, "stft": 0.0, "feature_matching": 2.0
    }  # fmt: skip
    assert (official.data.segment_size, official.data.context) == (4096, 0)
    chosen = ["vocoder.architecture=hifigan_v1", "vocoder.adversarial_from_step=5", "vocoder.loss.stft=3"]
    assert load_config("ESD", chosen).vocoder.adversarial_from_step == 5
    assert load_config("ESD", chosen).vocoder.loss.stft == 3


def test_held_out_utterances_are_the_acoustic_model_s(data):
    config = load_config("Sample", paths(data))
    found = find_data(config)
    assert [entry.key for entry in found.val.entries] == [
        entry.key for entry in read_metadata(data / "features" / "val.txt")
    ]
    assert not {entry.key for entry in found.val.entries} & {entry.key for entry in found.train.entries}


# ------------------------------------------------------------------------------------------------- the pitch predictor


def pitch_fit(root: Path, output: Path, source: Path) -> PitchFit:
    return PitchFit(load_config("Sample", overrides(root, output)), source, torch.device("cpu"))


def test_a_recording_played_at_another_speed_has_the_pitch_that_it_is_told_to_have(data, run6):
    fit = pitch_fit(data, run6, run6 / "ckpt" / "generator_6.pth.tar")
    cents, speeds = [], set()
    for seed in range(6):
        wav, f0 = fit._segment(fit.train[seed % len(fit.train)], np.random.default_rng(seed))
        heard = track(wav, RATE).at(fit.front_end.hop_length * np.arange(EDGE, EDGE + FRAMES))
        both = (heard > 0) & (f0 > 0)
        assert both.sum() > 0.7 * max((heard > 0).sum(), (f0 > 0).sum()) > 20
        cents += list(np.abs(1200 * np.log2(heard[both] / f0[both])))
        speeds.add(round(float(f0.max())))
    assert np.median(cents) < 15 and len(speeds) > 3
    mels, f0 = fit.batch(0)
    assert mels.shape == (16, FRAMES, 80) and f0.shape == (16, FRAMES) and mels.isfinite().all()
    assert all(torch.equal(one, other) for one, other in zip((mels, f0), fit.batch(0), strict=True))


def test_a_vocoder_learns_pitch_and_nothing_else_changes(data, run6, tmp_path):
    source, output = run6 / "ckpt" / "generator_6.pth.tar", tmp_path / "new" / "fitted.pth.tar"
    flags_ = flags(data, tmp_path)
    done = run_script("fit_pitch.py", *flags_, "--vocoder", str(source), "--output", str(output), "--steps", "400")
    assert_ok(done)
    before, after = (
        float(re.search(rf"{word}: .* cents in ([\d.]+)%", done.stdout)[1]) for word in ("before", "after")
    )
    assert after < 60.0 and after < before - 20.0, done.stdout
    old, new = (torch.load(path, weights_only=True)["generator"] for path in (source, output))
    assert old.keys() == new.keys()
    changed = {name for name in old if not torch.equal(old[name].float(), new[name])}
    assert changed and all(name.startswith("pitch.") for name in changed)
    assert json.loads(output.with_name("fitted.json").read_text()) == json.loads(
        source.with_name("generator_6.json").read_text()
    )
    vocoder = load_vocoder(
        load_config("Sample", [*overrides(data, tmp_path), f"model.vocoder.checkpoint={output}"]), torch.device("cpu")
    )
    assert vocoder(torch.full((1, 20, 80), -4.0))[0].isfinite().all()


def test_what_predicts_no_pitch_is_refused(data, run6, tmp_path):
    flags_ = flags(data, tmp_path)
    source = run6 / "ckpt" / "generator_6.pth.tar"
    assert_refused(run_script("fit_pitch.py", *flags_, "--vocoder", str(tmp_path / "no.pth.tar")), "no.pth.tar")
    alone = tmp_path / "alone.pth.tar"
    alone.write_bytes(source.read_bytes())
    assert_refused(run_script("fit_pitch.py", *flags_, "--vocoder", str(alone)), "Fourier")
    shipped = "pretrained/RAVDESS/vocoder.safetensors"
    assert_refused(run_script("fit_pitch.py", *flags_, "--vocoder", shipped), "--output")
    other = "preprocess.preprocessing.mel.mel_fmax=7600"
    assert_refused(run_script("fit_pitch.py", *flags_, "--set", other, "--vocoder", str(source)), "mel_fmax")
