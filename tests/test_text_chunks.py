"""Sentence chunks: no word lost, none out of order, none too long."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from text.chunks import split_sentences

WORDS = st.sampled_from(
    [
        "one",
        "two,",
        "Dr.",
        "end.",
        "End.",
        "$3.50",
        "p.m.",
        "?!",
        "-",
        '"Really?"',
        "J.",
        "{AA1 B}",
        "...",
        "日本。",
        "(x)",
    ]
)
TEXTS = st.one_of(st.lists(WORDS, max_size=80).map(" ".join), st.text(max_size=200))


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(1, 50))
@example("a {AA1  B} c", 1)
def test_no_word_is_lost_or_moved(text, max_words):
    assert " ".join(split_sentences(text, max_words)).split() == text.split()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["one", "two,", "end.", "Dr.", "four;", "five"]), max_size=200), st.integers(1, 50))
def test_no_chunk_is_longer_than_asked(words, max_words):
    assert all(1 <= len(chunk.split()) <= max_words for chunk in split_sentences(" ".join(words), max_words))


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(1, 50))
def test_every_chunk_has_something_to_say_unless_nothing_has(text, max_words):
    chunks = split_sentences(text, max_words)
    if any(character.isalnum() for character in text):
        assert all(any(character.isalnum() for character in chunk) for chunk in chunks)
    else:
        assert len(chunks) <= 1


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Smith paid $3.50.", "Mrs. Brown paid 2.5 times as much!", "Why?"],
        ["It is J. R. R. Tolkien.", "So do I.", "He left at 5 p.m. and slept.", "She left at 6 p.m.", "He cried."],
        ['"Really?" he said.', "Well... maybe.", "Wait...", "What?!", "No. 5 is alive."],
        ["hello there.", "how are you?", "fine"],
        ["He moved to the U.S. in May, i.e. late.", "(Then he left.)", "Done."],
    ],
)
def test_sentences_end_where_a_reader_ends_them(sentences):
    assert split_sentences(" ".join(sentences)) == sentences


def test_phones_in_braces_stay_together():
    assert split_sentences("say {AA1 B . C} now", max_words=1) == ["say", "{AA1 B . C}", "now"]


def test_long_sentences_split_at_clauses_then_evenly():
    assert split_sentences("one two, three four five, six", 4) == ["one two,", "three four five, six"]
    assert split_sentences("a b c d e f g", 5) == ["a b c", "d e f g"]


def test_no_text_gives_no_chunks_and_zero_words_are_refused():
    assert split_sentences(" \n") == []
    with pytest.raises(ValueError, match="max_words"):
        split_sentences("a", 0)


@settings(max_examples=300, deadline=None)
@given(st.one_of(TEXTS, st.text(st.sampled_from("你好吗。！？，“”…（）{ab} .3"), max_size=60)), st.integers(1, 50))
def test_without_spaces_no_character_is_lost_or_moved(text, max_words):
    chunks = split_sentences(text, max_words, spaced=False)
    assert "".join("".join(chunks).split()) == "".join(text.split())
    if any(character.isalnum() for character in text):
        assert all(any(character.isalnum() for character in chunk) for chunk in chunks)


@pytest.mark.parametrize(
    ("sentences", "max_words"),
    [
        (["他说：“今天3.5度，很冷。", "你呢？”", "我说……", "不知道！", "好。"], 80),
        (["我们走吧，", "不要等他；", "他不来了。"], 6),
        (["一二三四五", "六七八九十"], 8),
        (["他在{zh ong1 g uo2}。", "Mr. Wang来了。"], 80),
    ],
)
def test_sentences_without_spaces_end_where_a_reader_ends_them(sentences, max_words):
    assert split_sentences("".join(sentences), max_words, spaced=False) == sentences
