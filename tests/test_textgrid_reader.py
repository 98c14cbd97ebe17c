"""The quick reader of the usual TextGrids: equal to praatio where it answers, silent where it does not."""

from itertools import pairwise

import numpy as np
import pytest

from errors import UserError
from preprocessor.alignment import _read_any_form, read_intervals
from preprocessor.textgrid_reader import read_tiers
from preprocessor.textgrid_writer import Interval, write_textgrid
from tests.paths import real_data
from tests.small_corpus import ALIGNED, textgrid

LABELS = ("AH0", "sp", "", " K ", "zh ang1", "국물", "d'accord", "{laugh}")


def both(path):
    return read_intervals(path), _read_any_form(path, path.read_bytes(), "phones")


@pytest.mark.parametrize("seed", range(20))
def test_any_tier_reads_as_with_praatio(tmp_path, seed):
    rng = np.random.default_rng(seed)
    times = np.unique(rng.uniform(0, 3, rng.integers(2, 40)).round(int(rng.integers(1, 12))))
    intervals = [(a, b, str(rng.choice(LABELS))) for a, b in pairwise(times)]
    if not intervals:
        intervals = [(0.0, 1.0, "K")]
    path = tmp_path / "a.TextGrid"
    text = textgrid(intervals)
    path.write_text(text.replace("\n", "\r\n") if seed % 3 == 0 else text, encoding="utf-8", newline="")
    assert read_tiers(path.read_bytes()) is not None
    quick, praatio = both(path)
    assert quick == praatio


def test_what_this_project_writes_is_read_quickly(tmp_path):
    path = tmp_path / "a.TextGrid"
    write_textgrid(path, [Interval(0.1, 0.62, "kid")], [Interval(0.1, 0.25, "K"), Interval(0.3, 0.62, "D")], 0.7)
    tiers = read_tiers(path.read_bytes())
    assert tiers is not None and set(tiers) == {"words", "phones"}
    quick, praatio = both(path)
    assert quick == praatio and quick[-1][2] != ""


USUAL = textgrid(ALIGNED)
UNUSUAL = {
    "a quote in a label": USUAL.replace('"IH1"', '"I""H1"'),
    "a negative time": USUAL.replace("xmin = 0.1\n", "xmin = -0.1\n"),
    "no number": USUAL.replace("xmin = 0.1\n", "xmin = 0.1.1\n"),
    "overlapping": USUAL.replace("xmax = 0.25", "xmax = 0.26"),
    "reversed": USUAL.replace("xmax = 0.25", "xmax = 0.05"),
    "cut off": USUAL[:-60],
    "one interval more than announced": USUAL.replace("size = 5", "size = 4"),
    "points": USUAL.replace("IntervalTier", "TextTier"),
    "another field": USUAL.replace("        intervals: size", "        note = 3\n        intervals: size"),
    "brackets in a label": USUAL.replace('"IH1"', '"intervals [7]:"'),
    "nothing": "",
    "no tier": USUAL.partition("    item [1]")[0],
    "two tiers of one name": USUAL + USUAL.partition("item []:\n")[2].replace("item [1]", "item [2]"),
    "short form": "\n".join(["File type = \"ooTextFile\"", 'Object class = "TextGrid"', "", "0", "1", "<exists>", "1"]),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSUAL)
def test_whatever_is_unusual_is_left_to_praatio(tmp_path, case):
    assert UNUSUAL[case] != USUAL
    content = UNUSUAL[case].encode()
    assert read_tiers(content) is None
    path = tmp_path / "a.TextGrid"
    path.write_bytes(content)
    try:
        expected = _read_any_form(path, content, "phones")
    except UserError as error:
        with pytest.raises(UserError) as raised:
            read_intervals(path)
        assert str(raised.value) == str(error)
    else:
        assert read_intervals(path) == expected


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_left_to_praatio(encoding):
    assert read_tiers(USUAL.replace("IH1", "é").encode(encoding)) is None


@pytest.mark.data
def test_published_textgrids_read_as_with_praatio():
    for path in sorted(real_data("TextGrid").glob("*/*.TextGrid"))[::60]:
        quick, praatio = both(path)
        assert quick == praatio and len(quick) > 10 and read_tiers(path.read_bytes()) is not None
