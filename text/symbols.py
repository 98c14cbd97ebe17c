# ruff: noqa: SIM905 - lists of symbols are read as text
"""The symbol table: its order is the order of the model's embedding rows, so it never changes.

Graphemes stand for themselves; phones carry an `@`, because ARPAbet `B` and the letter `B` are different symbols.
360 symbols: padding, punctuation, Latin letters, ARPAbet with and without stress, Mandarin pinyin with tones, silences.
"""

PAD = "_"
PUNCTUATION = "-!'(),.:;? "
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SILENCES = ("sp", "spn", "sil")  # short pause, spoken noise, silence
SILENCE = "sil"

VOWELS = tuple("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
CONSONANTS = tuple("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split())
STRESSES = ("", "0", "1", "2")  # not given, none, primary, secondary
ARPABET = tuple(sorted([*CONSONANTS, *(vowel + stress for vowel in VOWELS for stress in STRESSES)]))

PINYIN_INITIALS = tuple("b c ch d f g h j k l m n p q r s sh t w x y z zh".split())
PINYIN_FINALS = tuple(
    "a ai an ang ao e ei en eng er i ia ian iang iao ie ii iii in ing iong iou o ong ou "
    "u ua uai uan uang uei uen uo v van ve vn".split()
)
PINYIN = (*PINYIN_INITIALS, *(final + tone for final in PINYIN_FINALS for tone in "12345"), "rr")

SYMBOLS: tuple[str, ...] = (
    PAD,
    *PUNCTUATION,
    *LETTERS,
    *("@" + phone for phone in (*ARPABET, *PINYIN, *SILENCES)),
)
SYMBOL_TO_ID = {symbol: index for index, symbol in enumerate(SYMBOLS)}
