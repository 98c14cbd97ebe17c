"""Numbers of a Mandarin text in characters: dates, times, money, telephone numbers, percentages, fractions, quantities.

Whether digits are read one by one is told by what stands around them (年, 电话, 房间 …); 1 is 幺 in telephone and room
numbers, 2 is 两 before what is counted.
"""

from __future__ import annotations

import re

_DIGITS = "零一二三四五六七八九"
_PLACES = ("", "十", "百", "千")
MAX_DIGITS = 16  # longer ones are read digit by digit

_UNITS = {
    "km/h": "公里每小时",
    "m/s": "米每秒",
    "km": "公里",
    "cm": "厘米",
    "mm": "毫米",
    "kg": "公斤",
    "mg": "毫克",
    "ml": "毫升",
    "mL": "毫升",
    "m2": "平方米",
    "m3": "立方米",
    "m": "米",
    "g": "克",
    "L": "升",
    "°C": "摄氏度",
    "°F": "华氏度",
    "°": "度",
}
_UNIT = re.compile(rf"(?<=[0-9]) ?({'|'.join(map(re.escape, _UNITS))})(?![A-Za-z0-9])")
_MONEY = {"¥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_SYMBOLS = str.maketrans({"+": "加", "=": "等于", "×": "乘", "÷": "除以", "&": "和", "%": "百分号", "〇": "零"})

# what 2 stands before as 两: measure words and units, and what counts as one
_COUNTED = (
    "个|只|条|张|本|位|次|天|年(?!级)|块|元|件|把|辆|座|家|种|点|分钟|秒|小时|周|遍|杯|瓶|碗|斤|公斤|公里|千米|米|厘米|毫米|克|"
    "升|岁|倍|层|台|双|对|套|篇|首|头|匹|棵|朵|支|枝|片|间|所|份|群|门|场|节|顿|趟|回|下|口|名|人|员|美元|欧元|英镑|"
    "万|亿|千|刻|代|边|面|手|脚|国|省|吨|亩|度|平方|立方"
)
_LIANG = re.compile(rf"(?<![0-9.第])2(?=(?:多)?(?:{_COUNTED}))(?!月|日|号|楼)")
_SPELLED_BEFORE = (
    "(?:电话|手机|号码|热线|拨打|拨|打(?=1[12][0-9](?![0-9分个]))|密码|邮编|编号|尾号|账号|工号|学号|QQ|微信|航班|车次|群号|"
    "验证码)"
)
_SPELLED = re.compile(
    rf"(?P<before>{_SPELLED_BEFORE}(?:是|为|:|叫)?\s?)?(?<![0-9.])(?P<digits>[0-9]+(?:-[0-9]+)*)(?![0-9.]*[0-9])"
    r"(?P<after>号?(?:房|室|路|教室|信箱|寝室)|次(?:列车|航班|火车|高铁))?"
)


def cardinal(digits: str) -> str:
    """'10225' -> '一万零二百二十五'; digit by digit where longer than 16 digits. 两 for a leading 2 of 千, 万, 亿."""
    digits = digits.lstrip("0") or "0"
    if len(digits) > MAX_DIGITS:
        return spell(digits)
    words = _below(digits, ("亿", "万")) or "零"
    return re.sub("^二(?=[千万亿])", "两", words[1:] if words.startswith("一十") else words)


def _below(digits: str, units: tuple[str, ...]) -> str:
    """Before and after a unit of 8 digits (亿), then of 4 (万); 零 where places between them are empty."""
    if not units:
        return _group(digits.lstrip("0"))
    width = 4 * 2 ** (len(units) - 1)
    high, low = _below(digits[:-width], units[1:]), _below(digits[-width:], units[1:])
    if not high:
        return low
    gap = "零" if low and (digits[-width] == "0" or digits[-width - 1] == "0") else ""
    return f"{high}{units[0]}{gap}{low}"


def _group(digits: str) -> str:
    """Up to four digits without leading zeros."""
    words = ""
    for index, digit in enumerate(digits):
        if digit != "0":
            words += ("零" if index and digits[index - 1] == "0" else "") + _DIGITS[int(digit)]
            words += _PLACES[len(digits) - 1 - index]
    return words


def spell(digits: str, one: str = "一") -> str:
    """Digit by digit; `one` is 幺 in telephone numbers."""
    return "".join(one if digit == "1" else _DIGITS[int(digit)] for digit in digits)


def expand_numbers(text: str) -> str:
    """Every number of an NFKC text in characters; no ASCII digit is left."""
    text = re.sub("[^\\W0-9_a-zA-Z]", _ascii_digit, text)
    text = re.sub(r"(?<![0-9])([0-9]{1,3}(?:,[0-9]{3})+)(?![0-9])", lambda m: m.group().replace(",", ""), text)
    text = re.sub(r"(?<![0-9])([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})(?![0-9])", _date, text)
    text = re.sub(r"(?<![0-9:])([0-9]{1,2}):([0-5][0-9])(?::([0-5][0-9]))?(?![0-9:])", _time, text)
    text = re.sub(r"(?<=[0-9]):(?=[0-9])", "比", text)
    text = _SPELLED.sub(_spelled, text)
    text = re.sub(r"([¥$€£]) ?([0-9]+(?:\.[0-9]+)?)([万亿]?)", lambda m: f"{m[2]}{m[3]}{_MONEY[m[1]]}", text)
    text = _UNIT.sub(lambda m: _UNITS[m[1]], text)
    text = re.sub(r"(?<![0-9])([0-9]{4}|[089][0-9])(?=(?:[-~至到][0-9]{4})?年(?!前|级))", _year, text)
    text = re.sub(r"(?<![0-9])([0-9]+(?:\.[0-9]+)?)([%‰])", lambda m: f"{'百千'[m[2] == '‰']}分之{m[1]}", text)
    text = re.sub(r"(?<![0-9.])([0-9]+)[/⁄]([0-9]+)(?![0-9.])", r"\2分之\1", text)
    text = re.sub(rf"(?<=[0-9{_DIGITS}年月日号点分])[-~]{{1,2}}(?=[0-9{_DIGITS}])", "到", text)
    text = re.sub(r"(?<![0-9A-Za-z])-(?=[0-9])", "负", text)
    text = _LIANG.sub("两", text)
    text = re.sub(r"\.([0-9]+)", lambda m: f"点{spell(m[1])}", text)
    text = re.sub("[0-9]+", lambda m: _quantity(m[0]), text)
    return text.translate(_SYMBOLS)


def _ascii_digit(match: re.Match[str]) -> str:
    """Decimal digits of other scripts as ASCII ones."""
    character = match.group()
    return str(int(character)) if character.isdecimal() else character


def _date(match: re.Match[str]) -> str:
    year, month, day = match.groups()
    return f"{year}年{int(month)}月{int(day)}日"


def _time(match: re.Match[str]) -> str:
    hour, minute, second = match.groups()
    if int(hour) > 24:
        return f"{hour}比{minute}"
    words = f"{int(hour)}点"
    if int(minute) or second:
        words += f"{'零' if minute[0] == '0' and int(minute) else ''}{int(minute)}分"
    return words + (f"{int(second)}秒" if second else "")


def _spelled(match: re.Match[str]) -> str:
    """Telephone, room and line numbers, and whatever begins with a zero or is written in groups like one."""
    before, digits, after = match["before"] or "", match["digits"], match["after"] or ""
    plain = digits.replace("-", "")
    like_a_phone = re.fullmatch("1[3-9][0-9]{9}|400[0-9]{7}|0[0-9]{9,11}", plain) is not None
    named = (before and len(plain) > 2) or (after and len(plain) > 2)
    if like_a_phone or named or (digits == plain and len(plain) > 1 and plain[0] == "0"):
        return before + spell(plain, "幺") + after
    return match.group()


def _year(match: re.Match[str]) -> str:
    digits = match.group()
    return spell(digits) if len(digits) == 2 or 1000 < int(digits) < 2100 else digits


def _quantity(digits: str) -> str:
    return cardinal(digits) if len(digits) <= MAX_DIGITS else spell(digits)
