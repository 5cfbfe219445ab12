from __future__ import annotations

import functools
import gc
import hashlib
import http.server
import threading
import warnings

import formats_arrays
import pytest
from formats import got, refusal
from torchvision import datasets

FILES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
urllib_leaves_sockets_open = pytest.mark.filterwarnings(  # of answers like 404, until collected
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of MNIST in its published form, on this machine; its folder."""
    folder = tmp_path / "server"
    formats_arrays.mnist(folder, packed=True)
    files = folder / "MNIST/raw"
    handler = functools.partial(Quiet, directory=str(files))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{serving.server_port}/"
        monkeypatch.setattr(datasets.MNIST, "mirrors", [address])
        sums = [
            (file.name, hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest())
            for stem in FILES
            for file in files.glob(f"{stem}*")
        ]
        monkeypatch.setattr(datasets.MNIST, "resources", sums)
        yield files
        serving.shutdown()
        thread.join()
    gc.collect()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """A test's output is not for logs."""


def test_a_download_is_read_and_prints_nothing_to_stdout(tmp_path, server, capfd) -> None:
    root = tmp_path / "new/data"
    found = got("mnist", root, download=True)
    assert {name: len(part.labels) for name, part in found.items()} == {"train": 30, "test": 10}
    assert capfd.readouterr().out == ""
    assert sorted(path.name for path in root.iterdir()) == ["MNIST"]
    for file in server.iterdir():
        file.unlink()
    assert len(got("mnist", root, download=True)["test"].labels) == 10  # not downloaded again


def test_a_download_with_another_checksum_is_refused(tmp_path, server) -> None:
    next(server.glob("t10k-labels*")).write_bytes(b"not what was published")
    text = f"cannot download MNIST to {tmp_path}: the checksum of what was downloaded differs"
    assert refusal("mnist", tmp_path, download=True).startswith(text)


@urllib_leaves_sockets_open
def test_a_file_that_the_server_lacks_is_one_line(tmp_path, server) -> None:
    next(server.glob("train-labels*")).unlink()
    text = f"cannot download MNIST to {tmp_path}: HTTP Error 404: File not found"
    assert refusal("mnist", tmp_path, download=True).startswith(text)


@urllib_leaves_sockets_open
def test_a_download_goes_on_where_it_failed(tmp_path, server) -> None:
    file = next(server.glob("t10k-labels*"))
    content = file.read_bytes()
    file.unlink()
    refusal("mnist", tmp_path, download=True)
    file.write_bytes(content)
    assert len(got("mnist", tmp_path, download=True)["test"].labels) == 10


def test_packed_files_that_lie_there_are_unpacked(tmp_path, server, offline) -> None:
    formats_arrays.mnist(tmp_path, packed=True)
    assert len(got("mnist", tmp_path, download=True)["test"].labels) == 10


def test_what_torchvision_prints_goes_to_stderr(tmp_path, monkeypatch, capsys) -> None:
    formats_arrays.mnist(tmp_path)
    load = datasets.MNIST._load_data

    def noisy(self: datasets.MNIST) -> object:
        print("Using downloaded and verified file")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return load(self)

    monkeypatch.setattr(datasets.MNIST, "_load_data", noisy)
    got("mnist", tmp_path)
    assert capsys.readouterr() == ("", 2 * "Using downloaded and verified file\n")
