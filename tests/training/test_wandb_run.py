from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb

from cnnctl.config import schema
from cnnctl.training import wandb_run

ANSWERS = {
    "200": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "401": b"HTTP/1.0 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
    "500": b"HTTP/1.0 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "silent": None,
    "hangs up": b"",
}


@contextlib.contextmanager
def server(answer: bytes | None) -> Iterator[str]:
    """Answers everything on the loopback with the same; None never answers. Gives its address."""
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            if answer is None:
                over.wait(10)
            else:
                self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            over.set()
            listening.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("200", True), ("401", True), ("500", True), ("silent", False), ("hangs up", False)],
)
def test_a_server_is_there_if_it_says_anything(monkeypatch, name, expected) -> None:
    monkeypatch.setattr(wandb_run, "PROBE_SECONDS", 0.3)
    with server(ANSWERS[name]) as url:
        began = time.monotonic()
        assert wandb_run.answers(url) is expected
        assert time.monotonic() - began < 3


def test_a_closed_port_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert wandb_run.answers(f"http://127.0.0.1:{port}") is False


@pytest.mark.parametrize(
    ("given", "wanted", "mode"),
    [
        ("disabled", "auto", "disabled"),
        ("disabled", "online", "disabled"),
        ("dryrun", "auto", "offline"),
        ("online", "offline", "online"),
        ("", "offline", "offline"),
    ],
)
def test_the_variable_of_wandb_wins(monkeypatch, given, wanted, mode) -> None:
    monkeypatch.setenv("WANDB_MODE", given)
    assert wandb_run.settle(wanted) == mode


@pytest.mark.parametrize(
    ("login", "answer", "wanted", "mode"),
    [
        (False, True, "auto", "offline"),
        (False, True, "online", "offline"),
        (True, False, "auto", "offline"),
        (True, True, "auto", "online"),
        (True, False, "online", "online"),
        (True, True, "offline", "offline"),
    ],
)
def test_online_needs_a_login_and_a_server(monkeypatch, login, answer, wanted, mode) -> None:
    asked: list[dict[str, bool]] = []
    monkeypatch.setattr(wandb, "login", lambda **how: asked.append(how) or login)
    there = SimpleNamespace(settings=SimpleNamespace(base_url="https://there"))
    monkeypatch.setattr(wandb, "setup", lambda: there)
    monkeypatch.setattr(wandb_run, "answers", lambda url: answer and url == "https://there")
    assert wandb_run.settle(wanted) == mode
    assert asked == ([] if wanted == "offline" else [{"prompt": False, "verify": False}])


class Experiment:
    def __init__(self, options: dict[str, object]) -> None:
        self.options = options
        self.metrics: list[str] = []

    def define_metric(self, name: str, **_: object) -> None:
        self.metrics.append(name)


@pytest.mark.parametrize("refuses", [True, False])
def test_a_wandb_that_refuses_gives_an_offline_run(monkeypatch, tmp_path, refuses) -> None:
    monkeypatch.setattr(wandb_run, "settle", lambda _: "online")
    monkeypatch.setattr(wandb, "teardown", lambda: None)
    monkeypatch.setattr(wandb_run, "WandbLogger", lambda experiment: experiment)

    def init(**options: object) -> Experiment:
        if refuses and options["mode"] == "online":
            raise wandb.errors.CommError("no")
        return Experiment(options)

    monkeypatch.setattr(wandb, "init", init)
    logger = schema.Wandb(
        name="wandb", project="p", entity="e", mode="auto", group="g", tags=("a", "b")
    )
    found = wandb_run.start(logger, Path("outputs/train/name"), {"seed": 3})
    assert found.metrics == ["epoch", "*"]
    options = {name: value for name, value in found.options.items() if name != "settings"}
    assert options == {
        "project": "p", "entity": "e", "group": "g", "tags": ["a", "b"], "id": "name",
        "name": "name", "dir": str(tmp_path / "outputs"), "config": {"seed": 3},
        "mode": "offline" if refuses else "online", "resume": "allow", "allow_val_change": True,
    }  # fmt: skip


@pytest.mark.parametrize("resumed", [False, True])
def test_each_resuming_offline_has_a_folder_of_its_own(tmp_path, resumed) -> None:
    places = [tmp_path / f"offline-run-2026010{number}_000000-name" for number in (1, 2)]
    for place in [tmp_path / "offline-run-20260103_000000-other", *places[not resumed :]]:
        place.mkdir()
    settings = SimpleNamespace(sync_dir=str(places[1]))
    experiment = SimpleNamespace(disabled=False, offline=True, settings=settings, id="name")
    found = wandb_run.told(SimpleNamespace(experiment=experiment))  # pyright: ignore[reportArgumentType]
    words = f"--append {places[0]} {places[1]}" if resumed else str(places[1])
    assert found == {"mode": "offline", "sync": f"wandb sync {words}"}


def trained(**env: str) -> subprocess.CompletedProcess[str]:
    """A run with wandb that has no one to answer a question."""
    words = ["trainer.max_steps=1", "hardware=cpu", "logger=wandb", "outputs=runs"]
    done = subprocess.run(
        [sys.executable, "-m", "cnnctl", "train", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list(Path("runs/train").glob("*/result.json"))) == 1
    assert not Path("wandb").exists()
    return done


def test_without_a_login_a_run_is_kept_offline_beside_the_others() -> None:
    done = trained()
    (folder,) = Path("runs/train").iterdir()
    (kept,) = Path("runs/wandb").glob(f"offline-run-*-{folder.name}/*.wandb")
    assert b"val/top1" in kept.read_bytes()
    assert "wandb" not in done.stderr


def test_a_disabled_wandb_writes_nothing() -> None:
    trained(WANDB_MODE="disabled")
    assert not Path("runs/wandb").exists()


def test_a_server_that_refuses_the_key_gives_an_offline_run() -> None:
    with server(ANSWERS["401"]) as url:
        trained(WANDB_API_KEY="0" * 40, WANDB_BASE_URL=url)
    (kept,) = Path("runs/wandb").glob("offline-run-*/*.wandb")
    assert b"val/top1" in kept.read_bytes()
