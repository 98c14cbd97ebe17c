"""The archives that may be loaded by anyone without registration, as their publishers list them.

Corpora that are missing here need a form, an account or a click (ESD, TESS, SAVEE), have no archive of their recordings
(CREMA-D keeps them in Git LFS), or publish no checksum (EmoV-DB).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MB, GB = 10**6, 10**9


@dataclass(frozen=True)
class Archive:
    """One file to load and unpack."""

    part: str  # what --part calls it
    file: str  # its name on disk
    url: str
    checksum: str  # "md5:…" or "sha256:…"
    size: int | None  # bytes, exactly; None: not published
    unpacked: int | None  # bytes on disk, rounded up; None: unknown
    top: str = ""  # a folder in the archive whose content is the corpus's folder


@dataclass(frozen=True)
class Release:
    """A corpus's archives. The first is what is loaded when neither --part nor the configuration names one."""

    archives: Sequence[Archive]
    grows: bool = False  # each part has folders of its own: it can be added to parts that are in place


def _ravdess(part: str, file: str, md5: str, size: int, unpacked: int) -> Archive:
    url = f"https://zenodo.org/records/1188976/files/{file}?download=1"
    return Archive(part, file, url, f"md5:{md5}", size, unpacked)


def _libritts(part: str, sha256: str, size: int, unpacked: int) -> Archive:
    file = f"{part}.tar.gz"
    url = f"https://www.openslr.org/resources/60/{file}"
    return Archive(part, file, url, f"sha256:{sha256}", size, unpacked, top="LibriTTS")


def _libritts_r(part: str, md5: str, unpacked: int) -> Archive:
    file = f"{part.replace('-', '_')}.tar.gz"
    url = f"https://www.openslr.org/resources/141/{file}"
    return Archive(part, file, url, f"md5:{md5}", None, unpacked, top="LibriTTS_R")


RELEASES = {
    "RAVDESS": Release(  # MD5 and sizes: the Zenodo record
        (
            _ravdess(
                "speech", "Audio_Speech_Actors_01-24.zip", "bc696df654c87fed845eb13823edef8a", 208_468_073, 650 * MB
            ),
            _ravdess("song", "Audio_Song_Actors_01-24.zip", "5411230427d67a21e18aa4d466e6d1b9", 225_505_317, 650 * MB),
        )
    ),
    "LJSpeech": Release(
        (
            Archive(
                "all",
                "LJSpeech-1.1.tar.bz2",
                "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
                "sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
                2_748_572_632,
                3_900 * MB,
                top="LJSpeech-1.1",
            ),
        )
    ),
    "VCTK": Release(  # MD5 and size: the DataShare record 10283/3443
        (
            Archive(
                "all",
                "VCTK-Corpus-0.92.zip",
                "https://datashare.ed.ac.uk/server/api/core/bitstreams/535f4286-e54c-4038-838c-a02285e32cb2/content",
                "md5:8a6ba2946b36fcbef0212cad601f4bfa",
                11_747_302_977,
                13 * GB,
            ),
        )
    ),
    "LibriTTS": Release(
        (
            _libritts(
                "train-clean-100",
                "c5608bf1ef74bb621935382b8399c5cdd51cd3ee47cec51f00f885a64c6c7f6b",
                7_723_686_890,
                10 * GB,
            ),
            _libritts(
                "train-clean-360",
                "ce7cff44dcac46009d18379f37ef36551123a1dc4e5c8e4eb73ae57260de4886",
                27_504_073_644,
                36 * GB,
            ),
            _libritts(
                "train-other-500",
                "e35f7e34deeb2e2bdfe4403d88c8fdd5fbf64865cae41f027a185a6965f0a5df",
                44_565_031_479,
                58 * GB,
            ),
            _libritts(
                "dev-clean",
                "da0864e1bd26debed35da8a869dd5c04dfc27682921936de7cff9c8a254dbe1a",
                1_291_469_655,
                1_700 * MB,
            ),
            _libritts(
                "dev-other",
                "d413eda26f3a152ac7c9cf3658ef85504dfb1b625296e5fa83727f5186cca79c",
                924_804_676,
                1_300 * MB,
            ),
            _libritts(
                "test-clean",
                "234ea5b25859102a87024a4b9b86641f5b5aaaf1197335c95090cde04fe9a4f5",
                1_230_670_113,
                1_700 * MB,
            ),
            _libritts(
                "test-other",
                "33a5342094f3bba7ccc2e0500b9e72d558f72eb99328ac8debe1d9080402f10d",
                964_502_297,
                1_300 * MB,
            ),
        ),
        grows=True,
    ),
    "LibriTTS-R": Release(  # MD5: md5sum.txt of openslr.org/141, which lists no sizes
        (
            _libritts_r("train-clean-100", "6df668d8f5f33e70876bfa33862ad02b", 10 * GB),
            _libritts_r("train-clean-360", "382eb3e64394b3da6a559f864339b22c", 36 * GB),
            _libritts_r("train-other-500", "a37a8e9f4fe79d20601639bf23d1add8", 58 * GB),
            _libritts_r("dev-clean", "2c1f5312914890634cc2d15783032ff3", 1_700 * MB),
            _libritts_r("dev-other", "62d3a80ad8a282b6f31b3904f0507e4f", 1_300 * MB),
            _libritts_r("test-clean", "4d373d453eb96c0691e598061bbafab7", 1_700 * MB),
            _libritts_r("test-other", "dbc0959d8bdb6d52200595cabc9995ae", 1_300 * MB),
        ),
        grows=True,
    ),
}


def find_release(dataset: str, corpus: str) -> Release | None:
    """The release for a dataset of config/ (LibriTTS_R: LibriTTS-R), else for its corpus; None: not for download."""
    name = dataset.replace("_", "-")
    return RELEASES[name] if name in RELEASES and name.startswith(corpus) else RELEASES.get(corpus)
