"""An `mfa` command for tests: the interface of Montreal Forced Aligner 3, and phones spread evenly over a recording.

It takes the documented arguments and no others, and refuses what MFA refuses. What else it does stands in the JSON of
the environment variable STAND_IN: "record" (a file that each run adds a line of JSON to), "skip" (names without an
alignment), "say" (lines to print), "errors" (output_errors.txt), "spoil" (names whose TextGrid is cut in half),
"exit" (code to fail with), "sleep" (seconds, with a child process, before it begins).
"""

import argparse
import json
import os
import subprocess
import sys
import time
import wave
from pathlib import Path

from praatio import textgrid

CONSONANTS = {*"B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH".split()}  # noqa: SIM905
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
MODELS = {"english_us_arpa": CONSONANTS | {vowel + stress for vowel in VOWELS for stress in "012"}}
DICTIONARIES = {
    "english_us_arpa": "kids K IH1 D Z\nare ER0\ntalking T AO1 K IH0 NG\nby B AY1\nthe DH IY0\ndoor D AO1 R\n"
    "dogs D AO1 G Z\nsitting S IH1 T IH0 NG\n"
}


def main() -> int:
    args = arguments()
    behaviour = json.loads(os.environ.get("STAND_IN", "{}"))
    if "sleep" in behaviour:
        child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({behaviour['sleep']})"])
        Path(behaviour["pids"]).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(behaviour["sleep"])
    model, lexicon = read_model(args.acoustic_model_path), read_dictionary(args.dictionary_path)
    missing = {phone for phones in lexicon.values() for phone in phones} - model
    if missing:
        print(f"There were phones in the dictionary that do not have acoustic models: {', '.join(sorted(missing))}")
        return 1
    for line in behaviour.get("say", []):
        print(line)
    if "exit" in behaviour:
        return behaviour["exit"]
    labs = {}
    for lab in sorted(args.corpus_directory.glob("*/*.lab")):
        wav, target = lab.with_suffix(".wav"), args.output_directory / lab.parent.name / f"{lab.stem}.TextGrid"
        if lab.stem not in behaviour.get("skip", []):
            align(wav, lab.read_text().split(), lexicon, target)
        if lab.stem in behaviour.get("spoil", []):
            target.write_text(target.read_text()[: target.stat().st_size // 2])
        labs[f"{lab.parent.name}/{lab.stem}"] = [lab.read_text(), wav.is_symlink()]
    if "errors" in behaviour:
        (args.output_directory / "output_errors.txt").write_text(behaviour["errors"])
    if "record" in behaviour:
        entry = {"argv": sys.argv[1:], "dictionary": sorted(lexicon.items()), "labs": labs}
        with Path(behaviour["record"]).open("a") as record:
            record.write(json.dumps(entry) + "\n")
    print(f"INFO     Done! {len(labs)} files")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mfa", allow_abbrev=False)
    align = parser.add_subparsers(required=True).add_parser("align", allow_abbrev=False)
    align.add_argument("corpus_directory", type=Path)
    align.add_argument("dictionary_path")
    align.add_argument("acoustic_model_path")
    align.add_argument("output_directory", type=Path)
    align.add_argument("--config_path", "-c", type=Path)
    align.add_argument("--speaker_characters", "-s", default="0")
    align.add_argument("--output_format", choices=["long_textgrid", "short_textgrid", "json", "csv"])
    align.add_argument("--temporary_directory", "-t", default="")
    align.add_argument("--num_jobs", "-j", type=int)
    align.add_argument("--clean", action=argparse.BooleanOptionalAction)
    for flag in ("--overwrite", "--quiet", "--verbose", "--single_speaker", "--include_original_text"):
        align.add_argument(flag, action="store_true")
    args = parser.parse_args()
    for folder in (args.corpus_directory, args.output_directory):
        if args.temporary_directory and str(folder).startswith(args.temporary_directory):
            parser.error("directories must be outside of MFA's temporary directory to prevent data loss")
    if not args.corpus_directory.is_dir():
        parser.error("Corpus directory does not exist.")
    if args.output_format != "long_textgrid":
        parser.error("this one writes long TextGrids only")
    return args


def read_model(name: str) -> set[str]:
    if name in MODELS:
        return MODELS[name]
    if Path(name).suffix == ".zip" and Path(name).is_file():
        return set(Path(name).read_text().split())
    sys.exit(f"Could not find a model named {name!r} for acoustic.")


def read_dictionary(name: str) -> dict[str, list[str]]:
    if name not in DICTIONARIES and not (Path(name).suffix in (".dict", ".txt") and Path(name).is_file()):
        sys.exit(f"Could not find a model named {name!r} for dictionary.")
    lexicon: dict[str, list[str]] = {}
    for line in DICTIONARIES.get(name, "").splitlines() or Path(name).read_text().splitlines():
        word, *phones = line.split()
        lexicon.setdefault(word, phones)
    return lexicon


def align(wav: Path, words: list[str], lexicon: dict[str, list[str]], target: Path) -> None:
    """Speech from a fifth to four fifths of the recording, with a pause after the first word."""
    with wave.open(str(wav), "rb") as reader:
        duration = round(reader.getnframes() / reader.getframerate(), 6)
    spoken = [lexicon.get(word, ["spn"]) for word in words]
    step = round(0.6 * duration / (sum(map(len, spoken)) + 1), 2)
    time, word_entries, phone_entries = round(0.2 * duration, 2), [], []
    for number, (word, phones) in enumerate(zip(words, spoken, strict=True)):
        begin = time
        for phone in phones:
            phone_entries.append((time, round(time + step, 2), phone))
            time = round(time + step, 2)
        word_entries.append((begin, time, word))
        time = round(time + step, 2) if number == 0 else time
    grid = textgrid.Textgrid(0, duration)
    for name, entries in (("words", word_entries), ("phones", phone_entries)):
        grid.addTier(textgrid.IntervalTier(name, entries, 0, duration))
    target.parent.mkdir(parents=True, exist_ok=True)
    grid.save(str(target), format="long_textgrid", includeBlankSpaces=True)


if __name__ == "__main__":
    sys.exit(main())
