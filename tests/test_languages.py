"""The registry of languages: ids that never move, and that a new language is one module and one entry."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare_align
import preprocess
import synthesize
import text
import train
from errors import UserError
from synthesis.requests import batch_requests, safe_name, single_request
from tests.paths import ROOT
from tests.processes import assert_ok, assert_refused, run_script, with_overrides
from tests.tiny import make_tiny_dataset, tiny_overrides
from text.languages import SYMBOL_IDS, symbol_of
from text.words import phones_of
from utils.metadata import IdMaps

HELLO = {"en": "Hello there.", "zh": "你好，世界。", "ko": "안녕하세요, 세계."}


@pytest.fixture(scope="module")
def g2ps():
    return {code: text.get_g2p(code) for code in text.LANGUAGES}


def test_every_language_speaks_and_its_phones_have_rows(g2ps):
    assert list(g2ps) == ["en", "zh", "ko"]
    for code, g2p in g2ps.items():
        words = g2p(HELLO[code])
        ids = text.phones_to_ids(phones_of(words))
        assert all(0 < index < text.symbol_count([code]) for index in ids)
        assert all(re.fullmatch(r"\S+ -> \S[^()]* \(\w+\)", str(word)) for word in words)


def test_the_base_table_never_moves_and_ids_go_on_after_the_unused_row():
    assert {symbol: SYMBOL_IDS[symbol] for symbol in text.SYMBOLS} == text.SYMBOL_TO_ID
    assert text.symbol_count(["en"]) == text.symbol_count(["zh", "en"]) == 361
    assert text.symbol_table(["zh"]) == list(text.SYMBOLS)
    # written down, because models are trained on them
    assert (SYMBOL_IDS["@ko_g"], SYMBOL_IDS["@ko_a"], SYMBOL_IDS["@ko_K"], SYMBOL_IDS["@ko_NG"]) == (361, 379, 400, 406)
    assert text.symbol_count(["ko"]) == text.symbol_count(["en", "ko"]) == 407 == len(text.symbol_table(["ko"]))
    assert text.symbol_table(["ko"])[:360] == list(text.SYMBOLS)


@settings(deadline=None)
@given(st.lists(st.integers(0, 406).filter(lambda index: index != 360)))
def test_ids_of_all_languages_survive_the_way_to_text_and_back(ids):
    shown = text.ids_to_text(ids)
    assert text.text_to_ids(shown, cleaners=()) == [index for index in ids if index != 0]


@pytest.mark.parametrize("index", [-1, 360, 407])
def test_an_id_without_a_symbol_is_refused(index):
    with pytest.raises(UserError, match=rf"symbol id {index} is out of range.*0 to 359 and from 361 to 406"):
        symbol_of(index)


def test_unknown_codes_are_refused_with_the_known_ones():
    for use in (text.get_g2p, lambda code: text.symbol_count(["en", code]), lambda code: text.check_languages([code])):
        with pytest.raises(UserError, match=r"unknown language 'xx'; known: en \(English\), zh \(Mandarin\)"):
            use("xx")


def test_phones_without_a_row_are_refused():
    text.check_phones(["zh", "ong1", "AA1", "sp"], ["en"])
    text.check_phones(["ko_a", "AA1"], ["en", "ko"])
    with pytest.raises(UserError, match=r"phone 'ko_a' is Korean, but .*languages is \[en, zh\]"):
        text.check_phones(["AA1", "ko_a"], ["en", "zh"])


@pytest.mark.parametrize(("code", "phones"), [("en", "HH AH0"), ("zh", "n i2 HH AH0"), ("ko", "ko_a ko_N")])
def test_each_language_has_a_lexicon_and_braces_of_its_own_phones(tmp_path, code, phones):
    word = HELLO[code].split()[0].strip(",，。.").partition("，")[0]
    (tmp_path / f"{code}.txt").write_text(f"# mine\n{word}\t{phones}\n", encoding="utf-8")
    words = text.get_g2p(code, tmp_path / "{language}.txt")(HELLO[code] + " {" + phones + "}")
    assert (words[0].phones, words[0].source) == (tuple(phones.split()), "lexicon")
    assert (words[-1].phones, words[-1].source) == (tuple(phones.split()), "given")
    (tmp_path / f"{code}.txt").write_text(f"{word} {phones}\nA QQ1\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"{code}\.txt:2: unknown phone 'QQ1' of 'A'; expected"):
        text.get_g2p(code, tmp_path / "{language}.txt")
    with pytest.raises(UserError, match="unknown phone 'QQ1'"):
        text.get_g2p(code)("{QQ1}")
    foreign = {"en": "ko_a", "zh": "ko_a", "ko": "zh"}[code]
    (tmp_path / f"{code}.txt").write_text(f"{word} {foreign}\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf":1: unknown phone '{foreign}'"):
        text.get_g2p(code, tmp_path / f"{code}.txt")


@pytest.mark.parametrize("code", list(HELLO))
@pytest.mark.parametrize("bad", ["", " \n", "？！", "{}", "一 a 가 {AA1", "AA1} 一", "{AA1 {B} C}", "{  } a"])
def test_text_that_cannot_be_spoken_is_a_user_error(g2ps, code, bad):
    with pytest.raises(UserError) as error:
        g2ps[code](bad)
    assert "\n" not in str(error.value)


TOY = """
from text.words import Word, phones_of

class ToyG2P:
    def __init__(self, lexicon_path=None):
        pass

    def __call__(self, text):
        return [Word(word, tuple(f"toy_{letter}" for letter in word), "spelled") for word in text.split()]
"""


def test_a_new_language_is_one_module_and_one_entry(tmp_path):
    """On a copy of the project, speaking through what synthesize.py uses."""
    for name in ("text", "synthesis", "utils", "config"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "errors.py", tmp_path)
    (tmp_path / "text" / "toy.py").write_text(TOY)
    registry = tmp_path / "text" / "languages.py"
    entry = '    "xx": Language("Toy", "text.toy", "ToyG2P", "toy_a toy_b"),\n'
    registry.write_text(re.sub(r"(?m)(^LANGUAGES: .*?\n)\}$", rf"\1{entry}}}", registry.read_text(), flags=re.DOTALL))
    code = """
import text
from synthesis.requests import single_request
request = single_request("ab ba", "Ann", "sad", None, None, None, "xx")
ids = text.phones_to_ids(request.chunks[0].phones)
print([ids, text.ids_to_text(ids), text.symbol_count(["en", "xx"]), text.symbol_count(["en", "ko"])])
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[[407, 408, 408, 407], '{toy_a toy_b toy_b toy_a}', 409, 407]"


def test_importing_text_loads_no_language():
    code = (
        "import sys, text; print(*{'pypinyin', 'text.g2p', 'text.mandarin', 'text.korean', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_long_texts_are_spoken_in_pieces_and_named_in_ascii():
    request = single_request("今天天气很好，" * 60 + "我们走吧。再见！", "Ann", "sad", None, None, None, "zh")
    assert "".join(chunk.text for chunk in request.chunks) == "今天天气很好，" * 60 + "我们走吧。再见！"
    assert max(len(chunk.phones) for chunk in request.chunks) < 200
    assert request.name.startswith("Ann_sad_Jin-Tian-Tian-Qi")
    assert single_request("안녕하세요", "Ann", "sad", None, None, None, "ko").name == "Ann_sad_annyeonghaseyo"
    assert safe_name("../你/好") == "Ni-Hao"


@pytest.fixture(scope="module")
def korean_model(tmp_path_factory):
    """Overrides of a model that saw a few steps of Korean and English phones."""
    folder = tmp_path_factory.mktemp("korean")
    root = make_tiny_dataset(folder / "data")
    for name in ("train.txt", "val.txt"):
        lines = (root / name).read_text().replace("|{K IH1 D Z AA1 R", "|{ko_g ko_a ko_T ko_jj ko_i ko_NG")
        (root / name).write_text(lines)
    overrides = [*tiny_overrides(root, folder), "preprocess.preprocessing.text.languages=[ko, en]"]
    steps = ["train.step.total_step=30", "train.step.save_step=30"]
    assert_ok(run_script("train.py", "--dataset", "Sample", *with_overrides([*overrides, *steps])))
    return overrides


def speak(overrides, *more):
    flags = ("--restore_step", "latest", "--mode", "single", "--speaker_id", "Actor_01", "--emotion_id", "sad")
    return run_script("synthesize.py", "--dataset", "Sample", *with_overrides(overrides), *flags, *more)


def test_a_model_speaks_its_first_language_unless_told_otherwise(korean_model, tmp_path):
    result = speak(korean_model, "--text", "안녕하세요. 국물 3개 주세요.", "--output", tmp_path, "--name", "ko")
    assert_ok(result)
    assert "Glyph" not in result.stderr
    made = json.loads((tmp_path / "ko.json").read_text(encoding="utf-8"))
    assert [chunk["text"] for chunk in made["chunks"]] == ["안녕하세요.", "국물 3개 주세요."]
    assert made["chunks"][1]["phones"][:3] == ["ko_g", "ko_u", "ko_NG"]


def test_a_language_that_the_model_lacks_is_refused(korean_model, tmp_path):
    asked = ("--text", "你好", "--output", tmp_path / "out", "--language")
    assert_refused(speak(korean_model, *asked, "zh"), r"\.tar was not trained on 'zh'; choose --language of: ko, en$")
    with pytest.raises(UserError, match="unknown language 'xx'; known: en"):
        flags = ["--restore_step", "1", "--mode", "single", "--speaker_id", "Actor_01", "--emotion_id", "sad"]
        synthesize.main(["--dataset", "Sample", *flags, *map(str, asked), "xx"])
    with pytest.raises(UserError, match="--language belongs to --mode single"):
        batch = ["--restore_step", "1", "--mode", "batch", "--source", "x", "--language", "ko"]
        synthesize.main(["--dataset", "Sample", *batch])
    assert not (tmp_path / "out").exists()


def test_phones_of_another_language_are_refused_in_batch_mode_and_in_training(korean_model, tmp_path):
    (tmp_path / "lines.txt").write_text("sad-1|Actor_01|{AA1}|a\nsad-2|Actor_01|{ko_a}|a\n")
    ids = IdMaps.of(["Actor_01"], ["sad"])
    assert len(batch_requests(tmp_path / "lines.txt", ids, None, ["en", "ko"])) == 2
    with pytest.raises(UserError, match=r"lines.txt:2: sad-2: the phone 'ko_a' is Korean"):
        batch_requests(tmp_path / "lines.txt", ids, None, ["en", "zh"])
    english = [override for override in korean_model if "languages" not in override]
    trained = run_script("train.py", "--dataset", "Sample", *with_overrides(english), "--from_scratch")
    assert_refused(trained, "is Korean, but .* is .en.; add ko there")


@pytest.mark.parametrize("script", [prepare_align, preprocess, train])
def test_scripts_refuse_an_unknown_language(script):
    with pytest.raises(UserError, match="unknown language 'klingon'; known: en"):
        script.main(["--dataset", "Sample", "--set", "preprocess.preprocessing.text.languages=[en, klingon]"])
