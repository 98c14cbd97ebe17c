"""Korean: words against the Standard Pronunciation Rules, numbers, and any text at all."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errors import UserError
from text import LANGUAGES, phones_to_ids
from text.korean import EXCEPTIONS, KoreanG2P, _phones, _take_apart
from text.korean_numbers import cardinal, expand_numbers, native
from text.words import phones_of

CASES = [
    tuple(line.split(" | "))
    for line in Path(__file__).with_name("test_korean.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


@pytest.fixture(scope="module")
def g2p():
    return KoreanG2P()


def as_written(pronunciation):
    """'한구거 , 가' -> phones of the syllables as they stand there; a comma is a pause."""
    for word in pronunciation.split():
        if word == ",":
            yield "sp"
        else:
            yield from (phone for syllable in word for phone in _phones(_take_apart(syllable)))


def test_the_list_is_long_enough():
    assert len(CASES) >= 50


@pytest.mark.parametrize(("text", "pronunciation"), CASES)
def test_words_are_spoken_by_the_rules(g2p, text, pronunciation):
    assert phones_of(g2p(text)) == list(as_written(pronunciation))


def test_the_registry_lists_exactly_the_phones_of_the_module():
    assert {*LANGUAGES["ko"].phones.split(), "sp", "spn", "sil"} == KoreanG2P.own_phones


def test_exceptions_are_hangul_of_the_same_length(g2p):
    for word, respelling in EXCEPTIONS.items():
        assert len(word) == len(respelling) and all("가" <= syllable <= "힣" for syllable in word + respelling), word


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("3개월 3개", "삼개월 세개"),
        ("20살 21명 100명", "스무살 스물한명 백명"),
        ("3:05 15:30", "세시 오분 십오시 삼십분"),
        ("2024-10-06", "이천이십사년 시월 육일"),
        ("6월 16일", "유월 십육일"),
        ("02-123-4567", "공이 일이삼 사오육칠"),
        ("10000 11111 100000000", "만 만천백십일 일억"),
        ("-5°C 3.14 1/2", "마이너스 오도 삼점일사 일/이"),
        ("5kg $20", "오킬로그램 이십달러"),
    ],
)
def test_numbers_in_hangul(text, spoken):
    assert expand_numbers(text) == spoken


@given(st.integers(0, 10**16 - 1))
def test_numbers_can_be_read_back(number):
    """Sino-Korean numerals to a number: (digit place)* within 만, 억, 조."""
    total = group = digit = 0
    for word in cardinal(str(number)):
        if word in "영일이삼사오육칠팔구":
            digit = "영일이삼사오육칠팔구".index(word)
        elif word in "십백천":
            group += (digit or 1) * 10 ** (1 + "십백천".index(word))
            digit = 0
        else:
            total += (group + digit or 1) * 10 ** (4 * (1 + "만억조".index(word)))
            group = digit = 0
    assert total + group + digit == number


def test_native_numbers_are_all_different():
    assert len({native(str(number)) for number in range(1, 100)}) == 99


def test_decomposed_hangul_english_and_words_that_lean_on_others(g2p):
    assert phones_of(g2p("\u1112\u1161\u11ab\u1100\u116e\u11a8")) == phones_of(g2p("한국"))  # NFD
    words = g2p("할 수 있는 NBA 팀")
    assert [word.text for word in words] == ["할", "수", "있는", "NBA", "팀"]
    assert words[1].phones == ("ko_ss", "ko_u")
    assert g2p("물 수입")[1].phones[0] == "ko_s"


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(st.characters(codec=None)),
        st.text(st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3), max_size=12),
        st.text(st.sampled_from("가각값않싫같굳밟십육개시0123456789.,:%-/{} Aé一😀\ud800"), max_size=40),
    )
)
def test_any_text_gives_known_phones_or_a_user_error(g2p, anything):
    try:
        words = g2p(anything)
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert all(0 < index < 407 for index in phones_to_ids([phone for word in words for phone in word.phones]))
    assert all((word.phones == ()) == (word.source == "unspeakable") for word in words)
