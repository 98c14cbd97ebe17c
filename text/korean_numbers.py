"""Numbers of a Korean text in Hangul: Sino-Korean, native before what is counted; dates, times, telephone numbers."""

from __future__ import annotations

import re

_DIGITS = "영일이삼사오육칠팔구"
_PLACES = ("", "십", "백", "천")
_GROUPS = ("", "만", "억", "조")
_ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
MAX_DIGITS = 4 * len(_GROUPS)  # longer ones are read digit by digit

# counted with native numbers; 시 up to 12 o'clock
_COUNTED = (
    r"시간|개(?!월|국|년)|명|살|마리|권|병|잔|번(?!호|지)|장(?!관)|대(?!통령|학)|송이|켤레|그루|채|가지|사람|달(?!러)|군데|벌|자루|쌍|곳|끼|"
    r"그릇|접시|조각|통|줄"
)
_UNITS = {
    "km": "킬로미터",
    "cm": "센티미터",
    "mm": "밀리미터",
    "m": "미터",
    "kg": "킬로그램",
    "g": "그램",
    "L": "리터",
    "ml": "밀리리터",
}
_UNIT = re.compile(rf"(?<=[0-9]) ?({'|'.join(sorted(_UNITS, key=len, reverse=True))})(?![A-Za-z0-9])")
_SYMBOLS = str.maketrans({"%": "퍼센트", "+": " 더하기 ", "=": "은 ", "×": " 곱하기 ", "&": " 앤드 ", "°": "도"})


def cardinal(digits: str) -> str:
    """'12345' -> '만이천삼백사십오'; digit by digit where longer than 16 digits."""
    digits = digits.lstrip("0") or "0"
    if len(digits) > MAX_DIGITS:
        return spell(digits)
    if digits == "0":
        return "영"
    groups = [digits[max(end - 4, 0) : end] for end in range(len(digits), 0, -4)]
    words = [_group(group) + _GROUPS[index] for index, group in enumerate(groups) if int(group)]
    return re.sub("^일만", "만", "".join(reversed(words)))


def _group(digits: str) -> str:
    words = ""
    for index, digit in enumerate(digits):
        place = _PLACES[len(digits) - 1 - index]
        if digit != "0":
            words += ("" if digit == "1" and place else _DIGITS[int(digit)]) + place
    return words


def native(digits: str) -> str:
    """'25' -> '스물다섯', '20' -> '스무': 1 to 99 as they stand before what is counted."""
    tens, ones = divmod(int(digits), 10)
    return "스무" if (tens, ones) == (2, 0) else _TENS[tens] + _ONES[ones]


def spell(digits: str, zero: str = "영") -> str:
    """Digit by digit; `zero` is 공 in telephone numbers."""
    return "".join(zero if digit == "0" else _DIGITS[int(digit)] for digit in digits)


def expand_numbers(text: str) -> str:
    """Every number of an NFKC text in Hangul; no ASCII digit is left."""
    text = "".join(str(int(c)) if c.isdecimal() else c for c in text)  # digits of other scripts
    text = re.sub(r"(?<![0-9])([0-9]{1,3}(?:,[0-9]{3})+)(?![0-9])", lambda m: m[1].replace(",", ""), text)
    text = re.sub(r"(?<![0-9])([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})(?![0-9])", r"\1년 \2월 \3일", text)
    text = re.sub(r"(?<![0-9:])([0-9]{1,2}):([0-5][0-9])(?![0-9:])", _time, text)
    text = re.sub(r"(?<![0-9-])(?:0[0-9]{1,2}-)?[0-9]{3,4}-[0-9]{4}(?![0-9-])", _telephone, text)
    text = re.sub(r"([₩$€]) ?([0-9.]*[0-9])", lambda m: m[2] + {"₩": "원", "$": "달러", "€": "유로"}[m[1]], text)
    text = _UNIT.sub(lambda m: _UNITS[m[1]], text)
    text = re.sub(r"(?<=[0-9]) ?°C", "도", text)
    text = re.sub(r"(?<![0-9])0?6월", "유월", re.sub(r"(?<![0-9])10월", "시월", text))
    text = re.sub(r"(?<=[0-9가-힣])[~](?=[0-9])", "에서 ", text)
    text = re.sub(r"(?<![0-9A-Za-z가-힣])-(?=[0-9])", "마이너스 ", text)
    text = re.sub(rf"(?<![0-9.])([1-9][0-9]?) ?(?={_COUNTED})", lambda m: native(m[1]), text)
    text = re.sub(r"(?<![0-9.])0?([1-9]|1[0-2]) ?(?=시(?![가-힣])|시[에가는도이쯤])", lambda m: native(m[1]), text)
    text = re.sub(r"\.([0-9]+)", lambda m: f"점{spell(m[1])}", text)
    text = re.sub("(?<![0-9])0[0-9]+(?![년월일시분초])", lambda m: spell(m[0], "공"), text)
    return re.sub("[0-9]+", lambda m: cardinal(m[0]), text).translate(_SYMBOLS)


def _time(match: re.Match[str]) -> str:
    hour, minute = match.groups()
    return f"{int(hour)}시" + (f" {int(minute)}분" if int(minute) else "") if int(hour) < 25 else f"{hour} 대 {minute}"


def _telephone(match: re.Match[str]) -> str:
    return " ".join(spell(group, "공") for group in match.group().split("-"))
