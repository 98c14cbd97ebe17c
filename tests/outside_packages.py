"""Stand-ins for packages that are too large for a test: they take what the real ones document and nothing else.

Argument names and forms of results are those of openai-whisper 20250625, funasr 1.4 and utmos-pytorch 0.1.
"""

from pathlib import Path

WHISPER = """
import numpy as np

class _Model:
    def transcribe(self, audio, *, language=None, temperature=0.0, fp16=True, verbose=None):
        assert isinstance(audio, np.ndarray) and audio.dtype == np.float32 and audio.ndim == 1
        assert language == "en" and np.abs(audio).max() <= 1.5
        return {"text": " Kids are walking by the door. ", "segments": [], "language": "en"}

def load_model(name, device=None, download_root=None, in_memory=False):
    assert name in ("tiny.en", "base.en", "small.en", "medium.en")
    return _Model()
"""
FUNASR = """
import numpy as np

LABELS = ["\u751f\u6c14/angry", "\u538c\u6076/disgusted", "\u6050\u60e7/fearful", "\u5f00\u5fc3/happy",
          "\u4e2d\u7acb/neutral", "\u5176\u4ed6/other", "\u96be\u8fc7/sad", "\u5403\u60ca/surprised", "<unk>"]

class AutoModel:
    def __init__(self, model, device="cpu", disable_update=False):
        assert model.startswith("iic/emotion2vec_plus_")

    def generate(self, input, granularity="utterance", extract_embedding=True, disable_pbar=False):
        assert isinstance(input, np.ndarray) and input.dtype == np.float32 and not extract_embedding
        scores = [0.01] * len(LABELS)
        scores[LABELS.index("\u538c\u6076/disgusted")] = 0.9
        return [{"key": "rand", "labels": LABELS, "scores": scores}]
"""
UTMOS = """
import torch

class UTMOSScoreTorch:
    def __init__(self, device, ckpt_path=None):
        pass

    def score(self, wavs):
        assert isinstance(wavs, torch.Tensor) and wavs.dtype == torch.float32 and wavs.ndim == 1
        return 1.0 + 100 * wavs.square().mean().sqrt().reshape(1)
"""
PACKAGES = {"whisper": WHISPER, "funasr": FUNASR, "utmos_pytorch": UTMOS}


def install(folder: Path, **others: str) -> Path:
    """Put them into `folder`, which is to go onto the path; `others` replace some."""
    for name, text in (PACKAGES | others).items():
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(text, encoding="utf-8")
    return folder
