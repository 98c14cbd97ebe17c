"""Whatever lists, TextGrids, lexicons, configurations, names of recordings and texts hold: UserError or a result."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import attempt, memory_folder, run
from tests.mutation import PIECES
from tests.parsers_text import TEXT_PARSERS

EXAMPLES, MANY = 200, 100_000
FEWER = {"configuration": 10, "vocoder JSON": 3}  # times: they are slow
# "configuration" reads whole folders of YAML; "YAML" and "override" are the same parsers without the files around
FEWER_OF_MANY = {"configuration": 20}
FREE = (
    "metadata",
    "textgrid",
    "lexicon",
    "YAML",
    "records",
    "metadata.csv",
    "names of RAVDESS",
    "text en",
    "text zh",
    "text ko",
)
# what gives a result now and then; of the others damaged files are hardly ever right
TAKES = set(TEXT_PARSERS) - {"configuration", "SHA256SUMS"}


@pytest.mark.parametrize("name", TEXT_PARSERS)
def test_damaged_files_are_taken_or_refused(name):
    with memory_folder() as folder:
        run(TEXT_PARSERS[name], range(EXAMPLES // FEWER.get(name, 1)), folder)


@pytest.mark.parametrize("name", sorted(TAKES))
def test_the_parsers_take_what_is_right(name):
    """Else the tests here would show nothing: every seed that is a right file is read."""
    parser = TEXT_PARSERS[name]
    with memory_folder() as folder:
        assert sum(attempt(parser, seed, folder) for seed in parser.seeds)


@pytest.mark.parametrize("name", FREE)
def test_anything_made_of_the_formats_pieces_is_taken_or_refused(name):
    parser = TEXT_PARSERS[name]
    pieces = st.one_of(
        st.sampled_from([*parser.seeds, *parser.pieces, *PIECES]),
        st.binary(max_size=6),
        st.text(st.characters(codec="utf-8"), max_size=8).map(str.encode),
    )
    with memory_folder() as folder:

        @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(pieces, max_size=12).map(b"".join))
        def check(data):
            attempt(parser, data, folder)

        check()


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXT_PARSERS)
def test_many_damaged_files_are_taken_or_refused(name):
    count = MANY // FEWER_OF_MANY.get(name, 1)
    begin = time.monotonic()
    with memory_folder() as folder:
        taken = run(TEXT_PARSERS[name], range(1_000_000, 1_000_000 + count), folder)
    seconds = time.monotonic() - begin
    print(f"\n{name}: {count:,} inputs in {seconds:.0f} s, {count / seconds:.0f}/s, {taken:,} taken")
