"""Files of data sets: where they are looked for, and downloads from a server on this machine."""

import functools
import gc
import hashlib
import http.server
import os
import socket
import tarfile
import threading
import zipfile

import pytest

from sparse_engine.lab.tasks import DataFile

# Sockets of the library that downloads are closed when they are collected.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CONTENT = b"some,data\n1,2\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        self.server.requests += 1


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server with a plain file and archives of it: its folder, address and count of requests."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "plain.csv").write_bytes(CONTENT)
    with zipfile.ZipFile(folder / "whole.zip", "w") as archive:
        archive.write(folder / "plain.csv", "deep/plain.csv")
        archive.writestr("deep/plain.csv.other", "something else")
    with tarfile.open(folder / "whole.tar.gz", "w:gz") as archive:
        archive.add(folder / "plain.csv", "deep/plain.csv")
    with tarfile.open(folder / "link.tar.gz", "w:gz") as archive:
        link = tarfile.TarInfo("deep/plain.csv")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    whole = (folder / "whole.zip").read_bytes()
    marked = bytearray(whole)  # as encrypted, in the entry of the file and in the directory
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        marked[whole.index(sign) + place] |= 1
    (folder / "secret.zip").write_bytes(bytes(marked))
    (folder / "damaged.zip").write_bytes(b"<html>not an archive</html>")
    (folder / "cut.tar.gz").write_bytes((folder / "whole.tar.gz").read_bytes()[:60])
    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def address(site, tmp_path, monkeypatch):
    """The server's address; downloads go to a new cache, and no folder of data is set."""
    monkeypatch.delenv("SPARSE_ENGINE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield f"http://127.0.0.1:{site.server_port}"
    gc.collect()  # sockets that are left open are closed here, and not in a test of other files


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain.csv", {"sha256": SHA256}),
        ("plain.csv", {}),
        ("whole.zip", {"member": "deep/plain.csv"}),
        ("whole.tar.gz", {"member": "deep/plain.csv"}),
    ],
)
def test_a_file_or_a_member_of_an_archive_is_downloaded_once(address, site, name, options):
    file = DataFile("set", "name.csv", f"{address}/{name}", **options)
    assert file.find().read_bytes() == CONTENT
    before = site.requests
    assert file.find().read_bytes() == CONTENT
    assert site.requests == before


@pytest.mark.parametrize("archive", ["whole.zip", "whole.tar.gz"])
def test_a_member_is_unpacked_whole_or_not_at_all(address, archive, monkeypatch, tmp_path):
    """Where a kill comes while the member is written."""
    file = DataFile("set", "name.csv", f"{address}/{archive}", member="deep/plain.csv")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            file.find()
    assert not [*tmp_path.rglob("plain.csv")]
    assert file.find().read_bytes() == CONTENT


def killed(*_):
    raise KeyboardInterrupt


def test_what_a_killed_download_has_left_is_removed(address, tmp_path):
    file = DataFile("set", "plain.csv", f"{address}/plain.csv")
    folder = file.find().parent
    old, new = folder / "tmpold", folder / "tmpnew"
    for path in (old, new):
        path.write_text("part")
    os.utime(old, (0, 0))
    file.find()
    assert new.exists() and not old.exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("absent.csv", {}),
        ("plain.csv", {"sha256": "0" * 64}),
        ("whole.zip", {"member": "absent.csv"}),
        ("damaged.zip", {"member": "plain.csv"}),
        ("cut.tar.gz", {"member": "deep/plain.csv"}),
        ("link.tar.gz", {"member": "deep/plain.csv"}),
        ("secret.zip", {"member": "deep/plain.csv"}),
    ],
)
def test_what_is_wrong_with_a_download_is_said(address, tmp_path, name, options):
    file = DataFile("set", "plain.csv", f"{address}/{name}", **options)
    with pytest.raises(
        FileNotFoundError, match=r"plain\.csv of the data set set from .*--data"
    ) as e:
        file.find()
    assert str(tmp_path / "cache") in str(e.value) and f"{address}/{name}" in str(e.value)


def test_offline_names_file_address_and_folder(address):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/plain.csv"
        with pytest.raises(FileNotFoundError, match=r"expected to download plain\.csv") as error:
            DataFile("set", "plain.csv", nobody).find()
    assert nobody in str(error.value) and "SPARSE_ENGINE_DATA" in str(error.value)


def test_folders_come_before_downloads(address, site, tmp_path, monkeypatch):
    file = DataFile("set", "plain.csv", f"{address}/plain.csv", member="other name.csv")
    before = site.requests
    (tmp_path / "set").mkdir()
    monkeypatch.setenv("SPARSE_ENGINE_DATA", str(tmp_path))
    (tmp_path / "set" / "other name.csv").write_text("as in the archive")
    assert file.find().read_text() == "as in the archive"
    (tmp_path / "set" / "plain.csv").write_text("of the variable")
    assert file.find().read_text() == "of the variable"
    given = tmp_path / "given"
    given.mkdir()
    (given / "plain.csv").write_text("of the folder")
    assert file.find(given).read_text() == "of the folder"
    assert site.requests == before


def test_a_folder_that_was_given_is_the_only_one(address, tmp_path):
    """A typing error in --data must not train on other data."""
    file = DataFile("set", "plain.csv", f"{address}/plain.csv")
    with pytest.raises(FileNotFoundError, match=r"plain\.csv of the data set set in .*absent"):
        file.find(tmp_path / "absent")


def test_a_file_without_an_address_says_where_it_belongs(address):
    with pytest.raises(FileNotFoundError, match=r"in \$SPARSE_ENGINE_DATA/set, found none"):
        DataFile("set", "plain.csv").find()
