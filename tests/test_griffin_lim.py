import pytest
import torch

import audio
from audio.griffin_lim import griffin_lim
from audio.mel import MelSpectrogram
from tests.paths import real_data


@pytest.fixture(scope="module")
def mel() -> MelSpectrogram:
    return MelSpectrogram(22050, 1024, 256, 1024, 80, 0.0, 8000.0)


def _error(wav: torch.Tensor, log_mel: torch.Tensor, mel: MelSpectrogram) -> float:
    """Mean |difference| of natural-log mels."""
    return (mel(wav[None])[0][0][: len(log_mel)] - log_mel).abs().mean().item()


@pytest.fixture(scope="module")
def spoken(mel) -> torch.Tensor:
    """A real utterance's log-mel [T, 80]."""
    wav = audio.load(real_data("RAVDESS/Actor_02/03-01-05-01-01-01-02.flac"), 22050)
    return mel(torch.from_numpy(wav / abs(wav).max() * 0.95)[None])[0][0]


def test_a_recording_survives(mel, spoken):
    """Measured: 0.16, 0.047, 0.033, 0.025 at 2, 30, 60, 100 iterations, over all bands and frames."""
    errors = [_error(griffin_lim(spoken, mel, iterations), spoken, mel) for iterations in (2, 30, 60)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.06


def test_level_is_kept(mel, spoken):
    quiet, loud = griffin_lim(spoken - 3.0, mel, 20), griffin_lim(spoken, mel, 20)
    assert 0.9 < loud.square().mean().sqrt() / (quiet * torch.e**3).square().mean().sqrt() < 1.1
    assert loud.abs().max() < 1


def test_tones_keep_their_pitch(mel):
    time = torch.arange(22050) / 22050
    wav = 0.3 * torch.sin(2 * torch.pi * 440 * time)
    back = griffin_lim(mel(wav[None])[0][0], mel, 60)
    spectrum = torch.fft.rfft(back[4096 : 4096 + 8192] * torch.hann_window(8192)).abs()
    assert abs(spectrum.argmax().item() * 22050 / 8192 - 440) < 15  # the mel band there is 40 Hz wide


@pytest.mark.parametrize("frames", [0, 1, 2, 5, 87])
def test_every_frame_becomes_a_hop(mel, frames):
    wav = griffin_lim(torch.randn(frames, 80) - 3.0, mel, 3)
    assert wav.shape == (frames * 256,)
    assert wav.isfinite().all() and wav.dtype == torch.float32


def test_extremes_stay_within_full_scale(mel):
    assert griffin_lim(torch.full((20, 80), 9.0), mel, 5).abs().max() <= 1
    assert griffin_lim(torch.full((20, 80), -11.5), mel, 5).abs().max() < 1e-4  # the front end's silence
    assert griffin_lim(torch.full((20, 80), -300.0), mel, 5).isfinite().all()


def test_the_seed_decides_and_nothing_else(mel):
    log_mel = torch.randn(30, 80) - 3.0
    torch.manual_seed(1)
    first = griffin_lim(log_mel, mel, 4)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)  # the global state is neither read nor moved
    assert torch.equal(griffin_lim(log_mel, mel, 4), first)
    assert not torch.equal(griffin_lim(log_mel, mel, 4, seed=5), first)


def test_other_settings_work_too():
    mel = MelSpectrogram(16000, 512, 160, 400, 40, 50.0, None)
    wav = 0.3 * torch.sin(torch.arange(8000) * 0.3)
    log_mel = mel(wav[None])[0][0]
    back = griffin_lim(log_mel, mel, 40)
    assert back.shape == (len(log_mel) * 160,)
    assert _error(back, log_mel, mel) < 1.0
