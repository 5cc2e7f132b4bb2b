"""Promise: a data file in the cache is whole and verified, and when it cannot be had, one line says
what to do.
"""

import errno
import hashlib
import http.server
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from rnnbench import data
from rnnbench.errors import UserError
from rnnbench.settings import Paths

CATALOGUE = data.catalogue()  # the real one; `one_file` replaces it
NAME = "set/file.bin"
CONTENT = bytes(range(256)) * 12_000  # three chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    (folder / "set").mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    return folder


@pytest.fixture
def server(mirror):
    """The mirror as a URL."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(QuietHandler, directory=str(mirror))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def closed():
    """A URL at which nothing answers."""
    with http.server.HTTPServer(("127.0.0.1", 0), QuietHandler) as server:
        port = server.server_address[1]
    return f"http://127.0.0.1:{port}/{NAME}"


@pytest.fixture(autouse=True)
def one_file(monkeypatch, closed):
    """A catalogue of one file; returns the function that gives it public sources, none of which
    works by itself.
    """

    def published_at(*urls):
        monkeypatch.setattr(
            data,
            "catalogue",
            lambda: {NAME: data.DataFile(NAME, len(CONTENT), SHA256, urls, "numbers", "none")},
        )

    published_at(closed)
    monkeypatch.setenv("no_proxy", "*")
    return published_at


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def paths(cache, mirror=None):
    return Paths(results=".", data=str(cache), mirror=None if mirror is None else str(mirror))


def quiet(line):
    pass


def refusal(cache, mirror=None, **options):
    """The one line of a refused fetch."""
    with pytest.raises(UserError) as refused:
        data.fetch(NAME, paths(cache, mirror), quiet, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# The catalogue


def test_catalogue_is_complete_and_well_formed():
    assert {name.split("/")[0] for name in CATALOGUE} == {
        "tinyshakespeare",
        "ptb",
        "text8",
        "MNIST",
        "polyphonic",
    }
    assert len(CATALOGUE) == 13
    for name, file in CATALOGUE.items():
        assert file.name == name
        assert len(file.sha256) == 64
        assert set(file.sha256) <= set("0123456789abcdef")
        assert file.bytes > 1000
        assert file.what
        assert file.licence
        assert file.urls
        assert all(
            url.startswith(("http://", "https://")) and url.endswith("/" + name.split("/")[-1])
            for url in file.urls
        )


def test_listing_loads_no_torch():
    code = "import sys; from rnnbench import data; from rnnbench.settings import Paths; "
    code += (
        "assert len(data.listing(Paths(results='.', data='nowhere', mirror=None))) == 13; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_listing_reads_no_file(cache, mirror, monkeypatch):
    states = [data.listing(paths(cache))[0].state]
    place = data.fetch(NAME, paths(cache, mirror), quiet)
    monkeypatch.setattr(data, "_digest", None)
    states.append(data.listing(paths(cache))[0].state)
    place.write_bytes(b"short")
    states.append(data.listing(paths(cache))[0].state)
    assert states == ["absent", "present", "wrong size"]


def test_check_compares_checksums(cache, mirror):
    assert data.check(paths(cache))[0].state == "absent"
    place = data.fetch(NAME, paths(cache, mirror), quiet)
    assert data.check(paths(cache))[0].state == "ok"
    place.write_bytes(b"x" * len(CONTENT))
    assert data.check(paths(cache))[0].state.startswith("corrupt (found SHA-256 ")


# Where a file comes from


def test_mirror_folder(cache, mirror):
    said = []
    place = data.fetch(NAME, paths(cache, mirror), said.append)
    assert place == cache / NAME
    assert place.read_bytes() == CONTENT
    assert files_in(cache) == [NAME]
    assert said == [f"fetching {NAME} (3.1 MB) from {mirror / NAME}"]


def test_mirror_url(cache, server):
    said = []
    assert data.fetch(NAME, paths(cache, server + "/"), said.append).read_bytes() == CONTENT
    assert said == [f"fetching {NAME} (3.1 MB) from {server}/{NAME}"]


def test_public_sources_in_order_until_one_works(cache, server, closed, one_file):
    one_file(closed, f"{server}/absent.bin", f"{server}/{NAME}")
    assert data.fetch(NAME, paths(cache), quiet).read_bytes() == CONTENT


def test_the_internet_has_what_the_mirror_lacks(cache, tmp_path, server, one_file):
    one_file(f"{server}/{NAME}")
    assert (
        data.fetch(NAME, paths(cache, tmp_path / "no such folder"), quiet).read_bytes() == CONTENT
    )


def test_cached_file_is_neither_fetched_nor_hashed_again(cache, mirror, monkeypatch):
    data.fetch(NAME, paths(cache, mirror), quiet)
    hashed = []
    monkeypatch.setattr(data.hashlib, "sha256", lambda: hashed.append(1) or hashlib.new("sha256"))
    data._digest.cache_clear()
    for _ in range(3):
        data.fetch(NAME, paths(cache), pytest.fail)
    assert len(hashed) == 1


def test_home_is_expanded(tmp_path, mirror, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.fetch(NAME, paths("~/my data", mirror), quiet) == tmp_path / "my data" / NAME


def test_unknown_name():
    with pytest.raises(
        UserError,
        match=r"unknown data file 'set/fiel\.bin'; did you mean 'set/file\.bin'\? \(1 data files: "
        r"rnnbench data list\)",
    ):
        data.fetch("set/fiel.bin", paths("cache"), quiet)


# Wrong contents


def test_corrupt_file_in_the_cache(cache, mirror):
    place = data.fetch(NAME, paths(cache, mirror), quiet)
    place.write_bytes(b"other")
    found = hashlib.sha256(b"other").hexdigest()
    expected = (
        f"{place} is corrupt: expected SHA-256 {SHA256}, found {found}; delete it, or "
        f"replace it with: rnnbench data fetch {NAME}"
    )
    assert refusal(cache, mirror) == expected
    assert data.fetch_all([NAME], paths(cache, mirror), quiet) == [place]
    assert place.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"other", hashlib.sha256(b"other").hexdigest()),
        (CONTENT[:-1], hashlib.sha256(CONTENT[:-1]).hexdigest()),
        (CONTENT + b"more", "more than"),
    ],
)
def test_corrupt_file_in_the_mirror(cache, mirror, content, found):
    (mirror / NAME).write_bytes(content)
    line = refusal(cache, mirror)
    assert line.startswith(
        f"the mirror's {mirror / NAME} is corrupt: expected SHA-256 {SHA256}, found {found}"
    )
    assert "unset paths.mirror" in line
    assert files_in(cache) == []


def test_corrupt_public_source(cache, mirror, server, one_file):
    (mirror / NAME).write_bytes(b"a login page")
    one_file(f"{server}/{NAME}")
    assert (
        f"{server}/{NAME}: wrong SHA-256 {hashlib.sha256(b'a login page').hexdigest()}"
        in refusal(cache)
    )
    assert files_in(cache) == []


def test_a_failed_replacement_keeps_the_old_file(cache, mirror):
    (cache / "set").mkdir(parents=True)
    (cache / NAME).write_bytes(b"old")
    (mirror / NAME).write_bytes(b"other")
    refusal(cache, mirror, replace=True)
    assert (cache / NAME).read_bytes() == b"old"


# No source


def test_offline(cache, closed):
    line = refusal(cache)
    assert line == (
        f"cannot fetch {NAME} ({closed}: Connection refused); put the file with SHA-256 {SHA256} "
        f"at {cache / NAME}, "
        f"or set paths.mirror (or RNNBENCH_MIRROR) to a folder or URL that has {NAME}"
    )
    assert files_in(cache) == []


def test_every_source_is_named(cache, server, closed, one_file):
    one_file(f"{server}/absent.bin", closed, "nonsense://host/file.bin")
    line = refusal(cache, server.replace("http", "https"))
    assert (
        f"{server}/absent.bin: File not found" in line or f"{server}/absent.bin: Not Found" in line
    )
    assert f"{closed}: Connection refused" in line
    assert "nonsense://host/file.bin: unknown url type" in line


def test_a_silent_server_is_given_up(cache, monkeypatch):
    monkeypatch.setattr(data, "TIMEOUT", 0.1)
    with http.server.HTTPServer(
        ("127.0.0.1", 0), QuietHandler
    ) as silent:  # accepts connections and serves none
        assert "timed out" in refusal(cache, f"http://127.0.0.1:{silent.server_address[1]}")


def test_fetch_all_goes_on_after_a_failure(cache, mirror, monkeypatch, closed):
    missing = data.DataFile("set/missing.bin", 5, SHA256, (closed,), "nothing", "none")
    both = {"set/missing.bin": missing} | data.catalogue()
    monkeypatch.setattr(data, "catalogue", lambda: both)
    said = []
    with pytest.raises(
        UserError, match=r"^1 of 2 data files could not be fetched: set/missing\.bin$"
    ):
        data.fetch_all(None, paths(cache, mirror), said.append)
    assert files_in(cache) == [NAME]
    assert any(line.startswith("cannot fetch set/missing.bin (") for line in said)


def test_fetch_all_takes_folders(cache, mirror):
    assert data.fetch_all(["set"], paths(cache, mirror), quiet) == [cache / NAME]
    with pytest.raises(UserError, match="unknown data file 'sets'"):
        data.fetch_all(["sets"], paths(cache, mirror), quiet)


# Half-written files


def test_interruption_leaves_nothing(cache, mirror, monkeypatch):
    calls = []

    def interrupted(stream, size, read=data._read):
        calls.append(files_in(cache))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(stream, size)

    monkeypatch.setattr(data, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.fetch(NAME, paths(cache, mirror), quiet)
    assert all(NAME not in files and len(files) == 1 for files in calls)
    assert files_in(cache) == []


def test_full_disk(cache, mirror, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(data.os, "fsync", full)
    line = (
        f"cannot write {cache / NAME}: No space left on device; make room there, or set "
        f"paths.data to another folder"
    )
    assert refusal(cache, mirror) == line
    assert files_in(cache) == []


def test_cache_that_cannot_be_written(tmp_path, mirror):
    (tmp_path / "cache").write_text("not a folder")
    assert refusal(tmp_path / "cache", mirror).startswith(
        f"cannot write {tmp_path / 'cache' / NAME}: "
    )


def test_fetching_at_the_same_time(cache, mirror):
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda _: data.fetch(NAME, paths(cache, mirror), quiet), range(16)))
    assert {place.read_bytes() == CONTENT for place in places} == {True}
    assert files_in(cache) == [NAME]
