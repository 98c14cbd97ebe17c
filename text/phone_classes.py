"""Broad phonetic classes: what a phone sounds like, roughly, whatever the voice."""

from __future__ import annotations

_ARPABET = {
    "vowel": "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW",
    "approximant": "L R W Y",
    "nasal": "M N NG",
    "sibilant": "S SH CH",
    "voiced sibilant": "Z ZH JH",
    "fricative": "F TH HH",
    "voiced fricative": "V DH",
    "stop": "P T K",
    "voiced stop": "B D G",
    "silence": "sp spn sil",
}
_PINYIN = {
    "approximant": "l r w y rr",
    "nasal": "m n",
    "sibilant": "s sh c ch z zh j q x",  # affricates, too: their friction is longer than their closure
    "fricative": "f h",
    "stop": "p t k b d g",  # all voiceless in Mandarin
    "vowel": "a ai an ang ao e ei en eng er i ia ian iang iao ie ii iii in ing iong iou o ong ou "
    "u ua uai uan uang uei uen uo v van ve vn",
}
_KOREAN = {
    "approximant": "ko_r ko_L",
    "nasal": "ko_n ko_m ko_N ko_M ko_NG",
    "sibilant": "ko_s ko_ss ko_j ko_jj ko_ch",
    "fricative": "ko_h",
    "stop": "ko_g ko_kk ko_d ko_tt ko_b ko_pp ko_k ko_t ko_p ko_K ko_T ko_P",
    "vowel": "ko_a ko_ae ko_ya ko_yae ko_eo ko_e ko_yeo ko_ye ko_o ko_wa ko_wae ko_oe ko_yo ko_u ko_wo ko_we ko_wi "
    "ko_yu ko_eu ko_ui ko_i",
}
_TABLES = (_ARPABET, _PINYIN, _KOREAN)
_CLASSES = {phone: kind for table in _TABLES for kind, phones in table.items() for phone in phones.split()}

# Level in units of the utterance's own deviation around its mean, in three ranges of frequency. By ear and textbook
# (Ladefoged, A Course in Phonetics, chapter 8), not fitted to any recording.
RANGES = (1000.0, 3000.0)  # Hz: what separates low, middle and high
LEVELS = {
    "vowel": (0.8, 0.8, 0.3),
    "approximant": (0.6, 0.2, -0.2),
    "nasal": (0.3, -0.4, -0.5),
    "sibilant": (-0.9, -0.3, 1.0),
    "voiced sibilant": (-0.3, -0.3, 0.8),
    "fricative": (-0.9, -0.6, 0.1),
    "voiced fricative": (-0.1, -0.5, -0.4),
    "stop": (-1.2, -0.9, -0.4),
    "voiced stop": (-0.6, -0.9, -0.7),
    "silence": (-1.3, -1.2, -1.0),
}
UNKNOWN = (0.0, 0.0, 0.0)


def levels(phone: str) -> tuple[float, float, float]:
    """Typical level of a phone ("AA1", "zh", "ang4", "sp") below, between and above RANGES; zeros for one that no table
    has."""
    kind = _CLASSES.get(phone) or _CLASSES.get(phone.rstrip("012345"))
    return LEVELS[kind] if kind else UNKNOWN
