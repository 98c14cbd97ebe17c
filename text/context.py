"""Is a word a verb where it stands? A small rule on its neighbours, for homographs; no part-of-speech tagger.

Words are lower case. The rule reads, in this order (the first that speaks decides):

    skip adverbs before the word (quickly, always, not)
    after `to`, a modal, a form of `do`, please, let's      verb       (they will _record_ it)
    after a subject pronoun                                 verb       (she _records_ it)
    after a determiner, possessive, preposition, be, have   not a verb (the _record_ of it)
    after let/make/help/see + him, them, …                  verb       (let him _record_ it)
    before an article or object pronoun                     verb       (dogs quickly _record_ the song)
    before of, is, was, will, …                             not a verb (world _records_ are rare)
    after a plural noun, if the word is no plural           verb       (the dogs _record_ songs)
    an -s form soon after a, this, each                     verb       (a dog _records_ songs)
    in a noun phrase begun by a determiner                  not a verb (a new world _record_)
    otherwise                                               undecided
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum


class Role(Enum):
    VERB = "verb"
    OTHER = "other"  # noun, adjective or adverb
    UNDECIDED = "undecided"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    "a an the this these those my your his her its our their some any no every each another what whose which such both "
    "several many few one two three four five six seven eight nine ten hundred thousand first second third last next "
    "more most less very too so quite rather as"
)
PREPOSITIONS = _words(
    "of in on at by for with from into onto about without within under over after before against between during per "
    "through since until despite across behind beyond near like upon via"
)
BE = _words(
    "am is are was were be been being isn't aren't wasn't weren't i'm you're he's she's it's we're they're that's"
)
HAVE = _words("have has had having haven't hasn't hadn't i've you've we've they've he'd she'd i'd you'd we'd they'd")
MODALS = _words(
    "will would can could shall should may might must cannot won't wouldn't can't couldn't shan't shouldn't mustn't "
    "i'll you'll he'll she'll it'll we'll they'll gonna wanna let's please"
)
DO = _words("do does did don't doesn't didn't")
SUBJECTS = _words("i you he she we they who")
SINGULAR_SUBJECTS = _words("he she it that which this who everyone nobody someone somebody everybody")
_SINGULAR = _words("a an this that each every another")
OBJECTS = _words("me him them us it")
OBJECT_STARTS = _words("the a an my your his her our their its it them us me him this these those all every each")
FINITE = _words("of is are was were has had will would can could should may might must isn't aren't wasn't weren't")
CAUSATIVES = _words("let lets letting make makes made making help helps helped see saw hear heard watch watched")
ADVERBS = _words(
    "not never always often also just still again even already soon sometimes usually really only ever then"
)
_NO_ADVERBS = _words(
    "family daily early only friendly lovely weekly monthly yearly elderly supply reply july italy jelly"
)
_TO_IS_PREPOSITION = _words("due according thanks close next prior addicted subject welcome back") | {"used"}


def is_adverb(word: str) -> bool:
    """An adverb that may stand between a verb and what announces it."""
    return word in ADVERBS or (word.endswith("ly") and len(word) > 4 and word not in _NO_ADVERBS)


def is_plural(word: str) -> bool:
    """Looks like a plural noun (or the -s form of a verb)."""
    return len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "'s"))


def without_adverbs(before: Sequence[str]) -> list[str]:
    """`before` without the adverbs at its end."""
    words = list(before)
    while words and is_adverb(words[-1]):
        words.pop()
    return words


def role(word: str, before: Sequence[str], after: Sequence[str]) -> Role:
    """The role of `word` between the words of its clause that stand before and after it."""
    words = without_adverbs(before)
    follower = after[0] if after else ""
    if not words:
        return _first_in_clause(word, follower)
    previous = words[-1]
    inflected = is_plural(word)
    if previous == "to":
        prepositional = inflected or (len(words) > 1 and words[-2] in _TO_IS_PREPOSITION)
        return Role.OTHER if prepositional else Role.VERB
    if previous in MODALS or previous in DO:
        return Role.OTHER if inflected else Role.VERB
    if previous in SUBJECTS or (previous in SINGULAR_SUBJECTS - DETERMINERS and inflected):
        return Role.VERB
    if previous in ("this", "that", "which") and inflected:
        return Role.VERB
    if previous in DETERMINERS or previous in PREPOSITIONS or previous in BE or previous in HAVE:
        return Role.OTHER
    if previous.endswith(("'s", "s'")) or previous == "that":
        return Role.OTHER
    if previous in OBJECTS and len(words) > 1 and words[-2] in CAUSATIVES:
        return Role.VERB
    return _by_what_follows(word, words, follower)


def _first_in_clause(word: str, follower: str) -> Role:
    if follower in OBJECT_STARTS and not is_plural(word):
        return Role.VERB  # Close the door.
    return Role.OTHER if follower in FINITE else Role.UNDECIDED


def _by_what_follows(word: str, words: list[str], follower: str) -> Role:
    previous = words[-1]
    if follower in OBJECT_STARTS:
        return Role.VERB
    if follower in FINITE:
        return Role.OTHER
    if is_plural(previous) and not is_plural(word):
        return Role.VERB
    if is_plural(word) and not _SINGULAR.isdisjoint(words[-3:-1]):
        return Role.VERB
    in_noun_phrase = any(earlier in DETERMINERS or earlier in PREPOSITIONS for earlier in words[-3:-1])
    if in_noun_phrase and not is_plural(word):
        return Role.OTHER
    # no subject pronoun just before, but a question or a distant modal (will Anna record it?)
    if any(earlier in MODALS or earlier in DO for earlier in words[-3:-1]) and not is_plural(word):
        return Role.VERB
    return Role.UNDECIDED
