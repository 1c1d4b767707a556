"""A file of rows as it is opened: unpacked, and behind its byte order mark; other formats are refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from state.errors import BadInput
from tools.shipped import find_file

MARK = b"\xef\xbb\xbf"
"""UTF-8's byte order mark."""
PARQUET = b"PAR1"
_HEAD = 64
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
_PAGE_HEADS = (b"<!doctype", b"<html")
_PACKED: Mapping[bytes, Callable[[BinaryIO], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: cast(IO[bytes], gzip.open(file)),
    b"BZh": lambda file: bz2.open(file),
    b"\xfd7zXZ\0": lambda file: lzma.open(file),
}
PACKED_SUFFIXES = (".gz", ".bz2", ".xz")
_OTHERS: Mapping[bytes, str] = {
    b"version https://git-lfs.github.com/spec/": (
        "is a Git LFS pointer, not the file that it stands for; run git lfs pull"
    ),
    b"PK\x03\x04": "is a ZIP archive or a spreadsheet; unpack it, or save the spreadsheet as CSV",
    b"\x28\xb5\x2f\xfd": "is compressed by Zstandard; unpack it (zstd -d), or compress it by gzip",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet of an old kind; save it as CSV",
    b"ARROW1": "is an Arrow file; save it as Parquet or JSON (Dataset.to_parquet, Dataset.to_json)",
    b"\xff\xff\xff\xff": "is an Arrow stream, as save_to_disk writes it; save it by Dataset.to_parquet or to_json",
    b"SQLite format 3\0": "is a SQLite database; write its rows as JSON, one a line",
    b"%PDF-": "is a PDF, not data",
    **{
        bytes((0x80, version)): "is a Python pickle, which Corral does not open; save it as JSON"
        for version in range(2, 6)
    },
}
"""What other files begin with, and what to do about each."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file of rows; what is compressed by gzip, bzip2 or xz is read as what it holds.

    Args:
        path: the file, or ``seeds:NAME`` for one that comes with Corral.

    Raises:
        BadInput: it is of another format (UTF-16, a Git LFS pointer, a web page, an archive, a pickle ...), or what is
            compressed is broken.
        OSError: it cannot be read.
    """
    with find_file(path).open("rb") as file:
        unpack = next((one for head, one in _PACKED.items() if _peeked(file).startswith(head)), None)
        if unpack is None:
            yield _behind_the_mark(path, file)
            return
        try:
            yield _behind_the_mark(path, cast(BinaryIO, unpack(file)))
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise BadInput(
                f"{path}: what is compressed in it is broken or cut off ({error}); fetch it again"
            ) from error
        except OSError as error:  # bz2 has no error of its own
            if error.errno is not None:
                raise
            raise BadInput(f"{path}: what is compressed in it is broken ({error}); fetch it again") from error


def plain_suffix(path: Path) -> str:
    """Return a file's suffix in lower case, without the one that says how it is compressed."""
    suffixes = [suffix.lower() for suffix in find_file(path).suffixes]
    if suffixes and suffixes[-1] in PACKED_SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _behind_the_mark(path: Path, file: BinaryIO) -> BinaryIO:
    head = _peeked(file)
    found = next((words for start, words in _OTHERS.items() if head.startswith(start)), "")
    if not found and head.startswith(_WIDE_MARKS):
        found = "is in UTF-16 or UTF-32; save it as UTF-8"
    if head.removeprefix(MARK).lstrip().lower().startswith(_PAGE_HEADS):
        found = "is a web page (HTML), not data; download the file itself"
    if found:
        raise BadInput(f"{path}: {found}")
    file.seek(len(MARK) if head.startswith(MARK) else 0)
    return file


def _peeked(file: BinaryIO) -> bytes:
    head = file.read(_HEAD)
    file.seek(0, io.SEEK_SET)
    return head
