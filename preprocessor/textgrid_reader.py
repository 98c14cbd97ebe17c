"""TextGrids in the one form that all aligners write, read quickly.

Praat's formats leave much room, and praatio reads all of it, in 1.5 ms a file. What Montreal Forced Aligner, praatio
and this project write is the long form with interval tiers, UTF-8, no quotes in labels; a few regular expressions
are enough for that. Whatever is not exactly so is left to praatio, errors included.
"""

from __future__ import annotations

import re

Interval = tuple[float, float, str]  # start, end in seconds, label

NUMBER = r" = ([\d.]+)[ \t]*\n\s*"  # one way only to match blank lines: a file of them alone would take hours
HEADER = re.compile(
    r'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin'
    + NUMBER
    + "xmax"
    + NUMBER
    + r"tiers\? <exists> ?\nsize = \d+ ?\n"
)
ITEM = re.compile(r"item \[\d*\]: *\n")
TIER = re.compile(
    r'\s*class = "IntervalTier"[ \t]*\n\s*name = "([^"\n]*)"[ \t]*\n\s*xmin'
    + NUMBER
    + "xmax"
    + NUMBER
    + r"intervals: size = (\d+) *\n"
)
INTERVAL = re.compile(r"intervals \[\d+\]:?[ \t]*\n\s*xmin" + NUMBER + "xmax" + NUMBER + r'text = "([^"\[\]=]*)"')
TIER_QUOTES, TIER_EQUALS = 4, 5  # in a tier's head
INTERVAL_QUOTES, INTERVAL_EQUALS = 2, 3


def read_tiers(content: bytes) -> dict[str, list[Interval]] | None:
    """Tier name -> its labelled intervals in order, as praatio would give them; None: ask praatio."""
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
        header = HEADER.match(text)
        if header is None or "\r" in text:
            return None
        float(header[1]), float(header[2])  # "1.2.3" is no number
        before, *parts = ITEM.split(text[header.end() :])
        tiers: dict[str, list[Interval]] = {}
        for part in parts[1:]:
            tier = _read_tier(part)
            if tier is None or tier[0] in tiers:
                return None
            tiers[tier[0]] = tier[1]
    except ValueError:  # no UTF-8, no number
        return None
    return None if before.strip() or (parts and parts[0].strip()) or not tiers else tiers


def _read_tier(part: str) -> tuple[str, list[Interval]] | None:
    """Name and labelled intervals; None where anything is unusual."""
    head = TIER.match(part)
    if head is None:
        return None
    found = INTERVAL.findall(part, head.end())
    size = len(found)
    usual = (
        size == int(head[4])
        and part.count('"') == TIER_QUOTES + INTERVAL_QUOTES * size
        and part.count("=") == TIER_EQUALS + INTERVAL_EQUALS * size
        and part.count("[") == size
    )
    if not usual:
        return None
    float(head[2]), float(head[3])
    intervals = []
    previous = 0.0
    for first, last, written in found:
        label = written.strip()
        start, end = float(first), float(last)
        if label:
            if not previous <= start < end:
                return None
            intervals.append((start, end, label))
            previous = end
    return head[1], intervals
