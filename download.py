"""A corpus from its publisher's server into the folder that the dataset's configuration names.

    python download.py --dataset RAVDESS
    python download.py --dataset RAVDESS --part speech --part song
    python download.py --dataset LibriTTS --part dev-clean --to /big/disk/LibriTTS
    python download.py --dataset RAVDESS --url https://mirror.example/Audio_Speech_Actors_01-24.zip
    python download.py --dataset ESD --url https://intranet.example/ESD.zip --checksum sha256:HEX

Only what its licence lets anyone load without registration: RAVDESS, LJSpeech, VCTK, LibriTTS, LibriTTS-R. For every
other corpus this says in one line how to get it (exit code 2). Using a corpus means accepting its licence, which is
shown first.

The archive loads into <folder>.download; Ctrl-C, a lost connection or a crash loses nothing: the same command goes on
where it ended. Its checksum is compared with the published one before it is unpacked, and the corpus appears in its
folder at once and whole. A corpus that is there already is left alone (exit code 0).

Next: python prepare_align.py --dataset RAVDESS
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from errors import UserError
from utils.cli import Parser, add_config_flags, positive_int, run


def build_parser() -> Parser:
    parser = Parser(__doc__)
    add_config_flags(parser)
    parser.add_argument("--to", metavar="DIR", help="the folder to fill (default: preprocess.path.corpus_path)")
    parser.add_argument(
        "--part",
        action="append",
        default=[],
        dest="parts",
        metavar="NAME",
        help="which part of the corpus, for example song (repeatable; default: what preprocess.corpus_options names, "
        "else the first; an unknown one lists them)",
    )
    parser.add_argument("--url", help="load the archive from here instead; http is allowed, too")
    parser.add_argument(
        "--checksum", metavar="md5:HEX|sha256:HEX", help="of --url's archive, where it is not the published one"
    )
    parser.add_argument("--keep_archive", action="store_true", help="leave the archive in <folder>.download")
    parser.add_argument(
        "--retries",
        type=positive_int,
        default=5,
        metavar="N",
        help="failures in a row that are tried again (%(default)s)",
    )
    parser.add_argument(
        "--timeout", type=positive_int, default=30, metavar="S", help="seconds without a byte (default: %(default)s)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = build_parser().parse_args(argv)
    from config import load_config
    from downloads.archives import find_release
    from downloads.install import human, install
    from downloads.selection import select
    from downloads.server import Network
    from preprocessor.corpus import get_corpus

    config = load_config(args.dataset, args.overrides).preprocess
    if args.dataset == "Sample":
        raise UserError("the sample corpus is generated: python make_sample_corpus.py")
    if config.datasets:
        commands = "; ".join(f"python download.py --dataset {name}" for name in config.datasets)
        raise UserError(f"{args.dataset} joins {', '.join(config.datasets)}; download each of them: {commands}")
    about = get_corpus(config.corpus, config.corpus_options).about
    release = find_release(args.dataset, config.corpus)
    named = [name for value in config.corpus_options.values() if isinstance(value, list) for name in value]
    archives = select(release, args.parts, named, args.url, args.checksum)
    target = Path(args.to or config.path.corpus_path)
    if not archives:
        raise UserError(
            f"{about.title} cannot be downloaded by a script; by hand, into {target}: {about.get} ({about.home}; "
            f"licence: {about.licence})"
        )
    if not (args.to or config.path.corpus_path):
        raise UserError(f"config/{args.dataset}/preprocess.yaml has no path.corpus_path; name the folder with --to DIR")
    print(f"{about.title} ({about.home}), licence: {about.licence}", flush=True)
    started = time.perf_counter()
    network = Network(float(args.timeout), args.retries, plain_http=args.url is not None)
    try:
        done = install(archives, target, network, release is not None and release.grows, args.keep_archive)
    except KeyboardInterrupt:
        print("what was loaded is kept; the same command goes on from there")
        raise
    if done.files:
        took = time.perf_counter() - started
        print(f"{done.files:,} files, {human(done.bytes)}, in {target} ({took:.0f} s)")
    else:
        print(f"{target} is there already, with {', '.join(archive.part for archive in archives)}")
    flag = f" --corpus_path {args.to}" if args.to else ""
    print(f"next: python prepare_align.py --dataset {args.dataset}{flag}")


if __name__ == "__main__":
    run(main)
