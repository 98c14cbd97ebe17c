"""Parsers of text and JSON: lists, TextGrids, lexicons, configurations, records, what lies beside weights."""

import json
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from config import from_dict, load_config
from config.loading import CONFIG_ROOT, _apply_override, _merge, _parse_yaml
from downloads.folder import _read_marker
from downloads.transfer import _read_note, _validator
from errors import UserError
from preprocessor.alignment import read_alignment, read_intervals
from preprocessor.facts import MANIFEST, Facts, read_speaker_facts
from preprocessor.features import Block, FeatureSettings, Places, Wanted, check_block
from preprocessor.plan import digest_of, given_names
from preprocessor.prepare_manifest import Settings, read_manifest, refuse_other_settings, vouches
from preprocessor.records import Features, Record, Skipped, Sums, read_lines
from preprocessor.spoken import reader
from preprocessor.statistics import Statistics
from synthesis.requests import batch_requests, safe_name
from tests.fuzzing import Parser, inside, put
from tests.mutation import as_json
from tests.parsers_corpora import CORPUS_PARSERS
from tests.small_corpus import ALIGNED, textgrid
from text import LANGUAGES, check_text, phones_to_ids, text_to_ids
from text.chunks import split_sentences
from text.lexicon import read_lexicon
from text.words import phones_of
from utils.metadata import Entry, IdMaps, metadata_line, read_metadata, read_sexes
from utils.weights import read_checked
from vocoder_weights import _read_config, fourier_architecture, lifts_quiet, skeleton_of

IDS = IdMaps.of(["Actor_05", "anna"], ["angry", "happy"])
LIST = (
    "angry-strong-01-02-Actor_05|Actor_05|{K IH1 D Z}|Kids are talking\n"
    "happy-a|anna|zh|{n i3 sp h ao3}|你好|!\n\nnone-a|anna|{K}|x\n"
).encode()


def _decoded(data: bytes) -> str:
    """As the arguments of a command: what is not UTF-8 becomes lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


# --------------------------------------------------------------------------------------- lists and TextGrids


def _metadata(data: bytes, folder: Path) -> object:
    entries = read_metadata(put(data, folder / "train.txt"))
    for entry in entries:
        for name in (f"{entry.speaker}-duration-{entry.name}.npy", f"{entry.speaker}_{entry.name}.json"):
            assert inside(name), entry
    return batch_requests(folder / "train.txt", IDS, "angry", ("en", "zh"), ("strong",))


def _textgrid(data: bytes, folder: Path) -> object:
    path = put(data, folder / "a.TextGrid")
    found = read_alignment(path, 22050, 256, fill_gaps=True)
    assert len(found.phones) == len(found.durations) and (found.durations >= 0).all()
    assert 0 <= found.start <= found.end
    assert abs(float(found.durations.sum()) * 256 / 22050 - (found.end - found.start)) < 0.02
    with suppress(UserError):
        read_intervals(path, "words")
    return found, read_alignment(path, 22050, 256)


SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1
<exists>
1
"IntervalTier"
"phones"
0
1
2
0
0.5
"K"
0.5
1
"AE1"
"""
AS_JSON: Any = {
    "start": 0, "end": 1, "tiers": {"phones": {"type": "IntervalTier", "entries": [[0.1, 0.5, "K"], [0.5, 1, "AE1"]]}},
}  # fmt: skip
GRIDS = (
    textgrid(ALIGNED).encode(), textgrid(ALIGNED, tier="words").encode(), textgrid(ALIGNED).encode("utf-16"),
    SHORT.encode(), json.dumps(AS_JSON).encode(), textgrid(((0.0, 0.5, ""), (0.5, 1.0, "你"))).encode(),
)  # fmt: skip


def _lexicon(data: bytes, folder: Path) -> object:
    return read_lexicon(put(data, folder / "lexicon.txt"))


# ------------------------------------------------------------------------------------------- configurations


def _config(data: bytes, folder: Path) -> object:
    for name in ("preprocess", "model", "train"):
        if not (folder / "Whole" / f"{name}.yaml").exists():
            put((CONFIG_ROOT / "RAVDESS" / f"{name}.yaml").read_bytes(), folder / "Whole" / f"{name}.yaml")
            put(b"inherit: Whole", folder / "Mine" / f"{name}.yaml")
    put(data, folder / "Mine" / "train.yaml")
    return load_config("Mine", root=folder)


def _yaml(data: bytes, folder: Path) -> object:
    """Without the files around it, which take most of the time."""
    values = json.loads(_values())
    read = _parse_yaml(data.decode("utf-8", "replace"), "train.yaml")
    if isinstance(read, dict):
        values["train"] = _merge(values["train"], read)
    return from_dict(values, "config/RAVDESS")


YAMLS = (
    b"inherit: Whole\noptimizer:\n  batch_size: 16\n  eps: 1e-9\n  betas: [0.9, 0.98]\nseed: 7\n",
    b"inherit: Whole\nstep: {total_step: 100, log_step: 10}\nsemi_supervised:\n  unlabelled_speakers: [Actor_01]\n",
    b"a: &a [x, x]\nb: &b [*a, *a]\nc: {<<: *b}\n",
)
YAML_PIECES = (
    b"inherit: Whole\n", b"path:\n", b"  ckpt_path: ", b"? [a]\n: b\n", b"!!python/object/apply:os.system [x]",
    b"!!int x",
    b"!!timestamp x", b"2001-13-45", b"!!binary x", b"!!set {a}", b"!!pairs [[a, b]]", b"!!float x", b"!!bool x",
    b"<<: ",
    b"0x_", b"0b", b"1:99:99", b".inf", b".nan", b"- ", b"|\n  ", b">\n", b"%YAML 9.9\n---\n", b"---\n", b"...\n",
    b"&a [*a]", b"[" * 2000, b"{a: " * 500, b"9" * 5000,
)  # fmt: skip


@lru_cache(maxsize=1)
def _values() -> str:
    return json.dumps(load_config("RAVDESS").to_dict())


def _override(data: bytes, folder: Path) -> object:
    values = json.loads(_values())
    _apply_override(values, _decoded(data))
    return from_dict(values, "config/RAVDESS")


OVERRIDES = (b"train.optimizer.batch_size=16", b"preprocess.path.raw_path=/x/{dataset}", b"model.vocoder={model: auto}")


# ------------------------------------------------------------------------------- what the stages leave behind

SETTINGS = FeatureSettings(22050, 1024, 256, 1024, 80, 0.0, 8000.0, None, True, None)
SUMS = Sums(7200, -1.5, 30.25, -11.5, 1.0)
ENTRY = Entry("angry-a", "anna", ("K", "IH1"), "Kid", "en")
RECORDS = (
    Record("anna", "angry-a", "5fd1", [[1, 2], None, [3, 4]], "en", Features(ENTRY, 90, SUMS, SUMS,
    "AAAA" * 682 + "AAA=")),
    Record("anna", "none-b", "5fd1", [[1, 2], None, [3, 4]], "en", Skipped("no TextGrid", "x does not exist")),
)  # fmt: skip


def _records(data: bytes, folder: Path) -> object:
    """As preprocess.py does: which lines still hold, and the statistics of those that parse."""
    places = Places(folder / "raw", folder / "grids", folder)
    statistics = Statistics(load_config_once().preprocess)
    lines = list(read_lines(put(data, folder / "features.jsonl")))
    for line in lines:
        line.text.encode()
        check_block(Block((Wanted(*line.key, "en", line.text),), places, SETTINGS, "5fd1"))
        try:
            outcome = line.outcome()
        except (ValueError, TypeError, KeyError):
            continue
        statistics.add(outcome, Facts())
        if isinstance(outcome, Features):
            metadata_line(outcome.entry).encode()
    if statistics.kept:
        json.dumps(statistics.as_json(0, {}), allow_nan=False)
    return lines


@lru_cache(maxsize=1)
def load_config_once() -> Any:
    """RAVDESS's configuration."""
    return load_config("RAVDESS")


def _ids(data: bytes, folder: Path) -> object:
    put(b'{"angry": 0}', folder / "emotions.json")
    put(data, folder / "speakers.json")
    ids = IdMaps.load(folder)
    for name in ids.speakers:
        assert inside(f"{name}-spker_embed.npy"), name
    return ids


MANIFESTS: Any = {
    "settings": {"sampling_rate": 22050, "normalization": "speaker_peak", "max_wav_value": 32768.0}, "peak": 0.5,
    "files": {
        "angry-a": {"source": {"file": "a.wav", "bytes": 1}, "facts": {"sex": "male", "intensity": "strong"},
        "samples": 5},
        "none-b": {"source": {"file": "b.wav"}, "facts": {}, "bad": "b.wav: the recording is silent"},
    },
}  # fmt: skip


def _manifest(data: bytes, folder: Path) -> object:
    path = put(data, folder / "raw" / "anna" / MANIFEST)
    settings = Settings(22050, "speaker_peak", 32768.0)
    statistics = Statistics(load_config_once().preprocess)
    for name, facts in read_speaker_facts(path).items():
        record = RECORDS[0]
        assert isinstance(record.outcome, Features)
        statistics.add(record.outcome, facts)
        assert facts.sex in (None, "male", "female") and name is not None
    manifest = read_manifest(path)
    if manifest is not None:
        for name in manifest["files"]:
            assert inside(f"{name}.wav"), name
        vouches(manifest, settings, {}, ())
    refuse_other_settings(folder / "raw", settings, "RAVDESS")
    return manifest


def _given(data: bytes, folder: Path) -> object:
    (folder / "stats.json").unlink(missing_ok=True)
    return given_names(put(data, folder / "val.txt").parent)


def _statistics(data: bytes, folder: Path) -> object:
    val = put(LIST, folder / "val.txt")
    return given_names(put(data.replace(b"DIGEST", digest_of(val).encode()), folder / "stats.json").parent)


def _sexes(data: bytes, folder: Path) -> object:
    return read_sexes(put(data, folder / "speaker-info.txt"))


# ------------------------------------------------------------------------------- beside weights and downloads

HIFIGAN: Any = {
    "resblock": "2", "upsample_rates": [8, 8, 4], "upsample_kernel_sizes": [16, 16, 8], "upsample_initial_channel": 64,
    "resblock_kernel_sizes": [3, 5, 7], "resblock_dilation_sizes": [[1, 2], [2, 6], [3, 12]], "num_mels": 80,
    "fmax": None,
    "sampling_rate": 22050,
}  # fmt: skip
FOURIER: Any = {
    "kind": "fourier", "channels": 8, "expansion": 2, "layers": 1, "kernel_size": 7, "pitch_channels": 8,
    "pitch_layers": 1, "num_mels": 80, "sampling_rate": 22050, "n_fft": 1024, "hop_size": 256, "fmin": 0.0,
    "fmax": 8000.0, "lifts_quiet": False,
}  # fmt: skip


def _vocoder(data: bytes, folder: Path) -> object:
    path = put(data, folder / "generator.json")
    lifts_quiet(folder / "generator.pth.tar")
    fourier_architecture(folder / "generator.pth.tar")
    return skeleton_of(_read_config(path)[0])


def _notes(data: bytes, folder: Path) -> object:
    """What the download leaves in its folder; damaged, it counts for nothing."""
    note = _read_note(put(data, folder / "a.part.json").with_name("a.part"))
    _validator(note, "https://x/")
    marker = _read_marker(put(data, folder / ".download.json").parent)
    return "Actor_01" in marker.get("adding", []), marker and marker["files"] + 1


def _sums(data: bytes, folder: Path) -> object:
    put(data, folder / "SHA256SUMS")
    return read_checked(put(b"x", folder / "weights"))


# ------------------------------------------------------------------------------------------ texts to speak


def _speech(language: str) -> Any:
    def read(data: bytes, folder: Path) -> object:
        text = _decoded(data[:120])  # what is unusual is in single words; long texts would only take long
        if language == "en":
            text_to_ids(text, drop_unknown=True)
        check_text(text)
        assert inside(f"{safe_name(text)}.wav")
        parts = split_sentences(text, LANGUAGES[language].chunk, LANGUAGES[language].spaced)
        return [phones_to_ids(phones_of(reader(language, None)(part))) for part in parts]

    return read


SENTENCES = {
    "en": (
        b"Dr. Smith's 3rd dog ate $5.50 at 10:45, didn't it?",
        b"{HH AH0} well... NASA, e.g. 1/2 of 1984!",
        b"caf\xc3\xa9",
    ),
    "zh": ("你好，2024年1月3日，银行 OK 3.5%！".encode(), "长大了；行不行？".encode()),
    "ko": ("안녕하세요, 2024년 3시 15분에 만나요!".encode(), "값이 없다. 닭을 OK".encode()),
}


STATS: Any = {"split": {"val_sha256": "DIGEST", "given_val": ["a"]}}
MARKER: Any = {"files": 3, "parts": {"a": {}}, "adding": ["Actor_01"]}
NOTE: Any = {"url": "https://x/", "etag": '"a"', "size": 5}
_LEXICON = b"HELLO  HH AH0 L OW1\nhello(2)\tHH EH0 L OW1\n;;; x\n# y\n"
_GRID_PIECES = (b"xmin = ", b"xmax = ", b"intervals [1]:\n", b'text = "', b"item [2]:\n", b'class = "')
_PLAIN_YAMLS = tuple(each.replace(b"inherit: Whole\n", b"") for each in YAMLS)
_LINES = tuple(each.line().encode() for each in RECORDS)


def _as_line(tree: Any) -> bytes:
    return as_json(tree) + b"\n"


_PARSERS = (
    Parser("metadata", _metadata, (LIST,), (b"|{", b"}|", b"|zh|", b"angry-", b"none-", b"anna|")),
    Parser("textgrid", _textgrid, GRIDS, _GRID_PIECES, (AS_JSON,)),
    Parser("lexicon", _lexicon, (_LEXICON,), (b"HH ", b"(2)", b";;;")),
    Parser("configuration", _config, YAMLS, YAML_PIECES),
    Parser("YAML", _yaml, _PLAIN_YAMLS, YAML_PIECES),
    Parser("override", _override, OVERRIDES, (b"train.", b"=", b"model.", *YAML_PIECES)),
    Parser("records", _records, _LINES, (b'"\\q"', b'"name": ', b"}\n"), tuple(map(json.loads, _LINES)), _as_line),
    Parser("ids", _ids, (b'{"anna": 0, "bob": 1}',), trees=({"anna": 0, "bob": 1},)),
    Parser("manifest", _manifest, (as_json(MANIFESTS),), trees=(MANIFESTS,)),
    Parser("given val.txt", _given, (LIST, b"angry-a\nhappy-b\n")),
    Parser("stats.json", _statistics, (as_json(STATS),), trees=(STATS,)),
    Parser("speaker-info", _sexes, (b"Actor_01|M\nanna|F\n",)),
    Parser("vocoder JSON", _vocoder, (as_json(HIFIGAN),), trees=(HIFIGAN, FOURIER)),
    Parser("download notes", _notes, (as_json(MARKER), as_json(NOTE)), trees=(MARKER, NOTE)),
    Parser("SHA256SUMS", _sums, (b"0" * 64 + b"  weights\n",)),
    *(
        Parser(f"text {code}", _speech(code), seeds, (b"{", b"}", b". ", b"$", b"-"))
        for code, seeds in SENTENCES.items()
    ),
    *CORPUS_PARSERS,
)
TEXT_PARSERS = {parser.name: parser for parser in _PARSERS}
