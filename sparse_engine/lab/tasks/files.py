"""Files of data sets: found in a folder, or downloaded once, and unpacked."""

from __future__ import annotations

import os
import tarfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile, is_zipfile

from sparse_engine.files import write_atomically

#: Environment variable with the folder that has a folder for each data set.
VARIABLE = "SPARSE_ENGINE_DATA"
DAY = 86_400  # seconds


def data_folder(dataset: str) -> Path:
    """Return the folder of a data set in ``$SPARSE_ENGINE_DATA``, else in the current folder."""
    return Path(os.environ.get(VARIABLE, "."), dataset)


@dataclass(frozen=True)
class DataFile:
    """File of a data set, and where it comes from.

    Attributes:
        dataset: name of the data set's folder.
        name: name of the file in it.
        url: address to download the file from; empty if there is none.
        sha256: hash of the file at that address.
        member: name of the wanted file inside the archive at the address; empty for no archive.
    """

    dataset: str
    name: str
    url: str = ""
    sha256: str = ""
    member: str = ""

    def find(self, folder: Path | None = None) -> Path:
        """Return the path of the file.

        The file, by its name or that which it has in the archive, is looked for in ``folder``, else
        in ``$SPARSE_ENGINE_DATA/<dataset>``, else in the user's cache, into which it is downloaded
        if it is not there.

        Raises:
            FileNotFoundError: the file is not in the folder that was given, or nowhere and cannot
                be downloaded.
        """
        given = folder
        if given is None and VARIABLE in os.environ:
            given = data_folder(self.dataset)
        if given is not None:
            for name in filter(None, (self.name, self.member)):
                if (given / name).is_file():
                    return given / name
        if folder is not None or not self.url:
            wanted = given or Path(f"${VARIABLE}", self.dataset)
            raise FileNotFoundError(
                f"expected the file {self.name} of the data set {self.dataset} in {wanted}, found "
                f"none; put it there, or name its folder with --data or {VARIABLE}"
            )
        return self._download()

    def _download(self) -> Path:
        import pooch

        cache = Path(pooch.os_cache("sparse_engine"), self.dataset)
        # An archive stays beside its contents, under the last part of its address.
        saved = self.url.rsplit("/", 1)[-1] if self.member else self.name
        path = cache / "unpacked" / self.member if self.member else cache / saved
        for left in cache.glob("tmp*"):  # by downloads that were killed
            with suppress(OSError):
                if left.is_file() and left.stat().st_mtime < time.time() - DAY:
                    left.unlink()
        try:
            pooch.retrieve(
                self.url,
                known_hash=f"sha256:{self.sha256}" if self.sha256 else None,
                fname=saved,
                path=cache,
                processor=_unpacking(self.member, path) if self.member else None,
                progressbar=True,
            )
        except (OSError, EOFError, ValueError, zlib.error, BadZipFile, tarfile.TarError) as error:
            found = " ".join(str(error).split())
            raise FileNotFoundError(
                f"expected to download {self.name} of the data set {self.dataset} from {self.url} "
                f"into {cache}, found: {found}; or put the file into a folder and name that with "
                f"--data or {VARIABLE}"
            ) from error
        return path


def _unpacking(member: str, path: Path) -> Callable[[str, str, object], str]:
    """Return what pooch calls after a download: it unpacks a member that is not there yet."""

    def unpack(archive: str, action: str, _: object) -> str:
        if action != "fetch" or not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _content(archive, member))
        return str(path)

    return unpack


def _content(archive: str, member: str) -> bytes:
    try:
        if is_zipfile(archive):
            with ZipFile(archive) as opened:
                return opened.read(member)
        with tarfile.open(archive) as packed, packed.extractfile(member) as file:  # type: ignore[union-attr]
            return file.read()
    except (KeyError, RuntimeError, TypeError) as error:  # absent, encrypted, no file
        raise ValueError(f"expected the file {member} in {archive}, found: {error}") from error


@dataclass(frozen=True)
class FromFiles:
    """Part of a task whose data come from files."""

    data: Path | None = None
    """Folder of the data files; by default $SPARSE_ENGINE_DATA/<data set>, else a download."""

    def __post_init__(self) -> None:
        if self.data is not None:
            # JSON has paths as text.
            object.__setattr__(self, "data", Path(self.data))
