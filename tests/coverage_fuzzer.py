"""One parser under libFuzzer, which keeps and mutates the inputs that reach new code:

    python -m tests.coverage_fuzzer NAME FOLDER [-runs=100000] [-max_total_time=60] [-seed=1] …

FOLDER gets the corpus, and crash-… with the input that led to another error than UserError. Ends with code 77 then.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

# what is instrumented: whatever reads the users' text files
PACKAGES = ["config", "downloads", "praatio", "preprocessor", "text", "utils", "vocoder_weights", "yaml"]


def main(name: str, place: Path, *flags: str) -> None:
    atheris = import_module("atheris")  # optional: type checkers need not find it
    with atheris.instrument_imports(include=PACKAGES):
        from tests.fuzzing import attempt
        from tests.mutation import PIECES
        from tests.parsers_text import TEXT_PARSERS

    parser = TEXT_PARSERS[name]
    corpus, folder = place / "corpus", place / "files"
    for each in (corpus, folder):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(parser.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = ["".join(f"\\x{byte:02x}" for byte in piece[:60]) for piece in (*parser.pieces, *PIECES)]
    (place / "words").write_text("".join(f'"{word}"\n' for word in words), encoding="ascii")

    def one(data: bytes) -> None:
        attempt(parser, data, folder)

    options = [f"-artifact_prefix={place}/", f"-dict={place}/words", "-max_len=2000", "-verbosity=1", *flags]
    atheris.Setup([sys.argv[0], str(corpus), *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
