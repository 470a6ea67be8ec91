"""Members of downloaded archives, unpacked one at a time."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO
from zipfile import ZipFile, is_zipfile

from sparse_engine.files import write_atomically

#: No member of a data set is larger; a larger one is an archive that was made to fill a disk.
MOST_BYTES = 2**30


def unpack(archive: Path, member: str, path: Path) -> None:
    """Write one regular file of a zip or tar archive to ``path``, whole or not at all.

    Raises:
        ValueError: no such member, one that is a link or a folder, is encrypted, or has more than
            ``MOST_BYTES`` or another size than the archive says.
        OSError, EOFError, zlib.error, BadZipFile, TarError: a damaged archive, or a full disk.
    """
    if not (is_zipfile(archive) or tarfile.is_tarfile(archive)):
        raise ValueError("expected a zip or tar archive, found something else or a part of one")
    content = (_of_zip if is_zipfile(archive) else _of_tar)(archive, member)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)


def processor(member: str, path: Path) -> Callable[[str, str, object], str]:
    """Return what pooch calls after a download: it unpacks a member where that is not there yet."""

    def process(archive: str, action: str, downloader: object) -> str:
        if action != "fetch" or not path.is_file():
            unpack(Path(archive), member, path)
        return str(path)

    return process


def _of_zip(archive: Path, member: str) -> bytes:
    with ZipFile(archive) as opened:
        if member not in opened.namelist():
            raise ValueError(f"no file {member} in the archive")
        info = opened.getinfo(member)
        if info.flag_bits & 1:
            raise ValueError(f"expected an archive without a password, found {member} encrypted")
        with opened.open(info) as source:
            return _content(source, member, info.file_size)


def _of_tar(archive: Path, member: str) -> bytes:
    with tarfile.open(archive) as opened:
        try:
            info = opened.getmember(member)
        except KeyError:
            raise ValueError(f"no file {member} in the archive") from None
        source = opened.extractfile(info) if info.isreg() else None
        if source is None:
            raise ValueError(f"expected {member} to be a regular file, found a link or a folder")
        return _content(source, member, info.size)


def _content(source: IO[bytes], member: str, size: int) -> bytes:
    if size > MOST_BYTES:
        raise ValueError(f"expected {member} of at most {MOST_BYTES:,} bytes, found {size:,}")
    content = source.read(size + 1)
    if len(content) != size:
        raise ValueError(f"expected the {size:,} bytes of {member}, found {len(content):,}")
    return content
