"""Pulling official weights from a stand-in for the hub on the loopback interface."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streamsep.errors import StreamsepError
from streamsep.models.bag import BagOfModels
from streamsep.models.htdemucs import HTDemucs
from streamsep.models.official import config_from_official
from streamsep.models.pull import pull_model
from streamsep.models.registry import cache_folder, load_model
from tests.test_official_checkpoint import KWARGS, assert_same, write_hub_file

COMMIT = "0123456789abcdef0123456789abcdef01234567"
pytest.importorskip("huggingface_hub", reason="pulling needs: pip install 'streamsep[hub]'")


class FakeHub(ThreadingHTTPServer):
    """Answers the routes that huggingface_hub asks for; `files` maps REPOSITORY/NAME to contents."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def do_HEAD(self) -> None:
        self.respond(send_body=False)

    def do_GET(self) -> None:
        self.respond(send_body=True)

    def respond(self, send_body: bool) -> None:
        self.server.asked.append(self.path)
        status, headers, body = self.find()
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if send_body:
            self.wfile.write(body)

    def find(self) -> tuple[int, dict[str, str], bytes]:
        repositories = {name.rsplit("/", 1)[0] for name in self.server.files}
        if self.path.startswith("/api/models/"):
            repository = self.path.removeprefix("/api/models/")
            if repository not in repositories:
                return 404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b""
            facts = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": [], "tags": []}
            return 200, {"Content-Type": "application/json"}, json.dumps(facts).encode()
        name = self.path.removeprefix("/").replace(f"/resolve/{COMMIT}/", "/")
        if name not in self.server.files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}, b""
        body = self.server.files[name]
        return 200, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT}, body

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    server = FakeHub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def model() -> HTDemucs:
    return HTDemucs(config_from_official(**KWARGS)).eval()


def publish(hub: FakeHub, model: HTDemucs, folder: Path) -> bytes:
    """Put a one-model release where the official htdemucs lives; returns the content of its weights."""
    content = write_hub_file(folder / "955717e8.safetensors", model).read_bytes()
    hub.files["adefossez/HTDemucs/htdemucs.yaml"] = b"models: ['955717e8']\n"
    hub.files["adefossez/HTDemucs/955717e8.safetensors"] = content
    return content


def cached() -> list[str]:
    return sorted(str(path.relative_to(cache_folder())) for path in cache_folder().rglob("*"))


def test_pulled_model_is_placed_and_loads_by_name(hub: FakeHub, model: HTDemucs, tmp_path: Path) -> None:
    publish(hub, model, tmp_path)
    assert pull_model("htdemucs", endpoint=hub.endpoint) == cache_folder() / "models" / "htdemucs"
    folder = "models/htdemucs"
    assert cached() == ["models", folder, f"{folder}/955717e8.safetensors", f"{folder}/htdemucs.yaml"]
    assert_same(load_model("htdemucs"), model)
    assert all(COMMIT in path for path in hub.asked if "/resolve/" in path)


def test_pulled_bag_keeps_its_weights(hub: FakeHub, model: HTDemucs, tmp_path: Path) -> None:
    content = publish(hub, model, tmp_path)
    members = ["f7e0c4bc", "d12395a8", "92cfc3b6", "04573f0d"]
    rows = [[float(row == column) for column in range(4)] for row in range(4)]
    repository = "adefossez/HTDemucs-ft"
    hub.files[f"{repository}/htdemucs_ft.yaml"] = json.dumps({"models": members, "weights": rows}).encode()
    hub.files.update({f"{repository}/{name}.safetensors": content for name in members})
    pull_model("htdemucs_ft", endpoint=hub.endpoint)
    bag = load_model("htdemucs_ft")
    assert isinstance(bag, BagOfModels) and bag.weights == rows and len(bag.models) == 4


def test_endpoint_from_the_environment(
    hub: FakeHub, model: HTDemucs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub, model, tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    pull_model("htdemucs")
    assert_same(load_model("htdemucs"), model)


def test_bad_release_is_refused_and_the_old_one_stays(hub: FakeHub, model: HTDemucs, tmp_path: Path) -> None:
    content = publish(hub, model, tmp_path)
    pull_model("htdemucs", endpoint=hub.endpoint)
    before = cached()
    older_class = write_hub_file(tmp_path / "b.safetensors", model, klass="demucs.hdemucs.HDemucs").read_bytes()
    for bad, message in ((content[:-500], "damaged"), (b"<html>", "damaged"), (older_class, "class HDemucs")):
        hub.files["adefossez/HTDemucs/955717e8.safetensors"] = bad
        with pytest.raises(StreamsepError, match=message):
            pull_model("htdemucs", endpoint=hub.endpoint)
        assert cached() == before
    assert_same(load_model("htdemucs"), model)


def test_new_release_replaces_the_old_one(hub: FakeHub, model: HTDemucs, tmp_path: Path) -> None:
    publish(hub, model, tmp_path)
    pull_model("htdemucs", endpoint=hub.endpoint)
    newer = HTDemucs(config_from_official(**KWARGS)).eval()
    publish(hub, newer, tmp_path)
    pull_model("htdemucs", endpoint=hub.endpoint)
    assert_same(load_model("htdemucs"), newer)
    assert len(cached()) == 4


def test_release_that_names_files_outside_is_refused(hub: FakeHub, model: HTDemucs, tmp_path: Path) -> None:
    publish(hub, model, tmp_path)
    hub.files["adefossez/HTDemucs/htdemucs.yaml"] = b"models: ['../../955717e8']\n"
    with pytest.raises(StreamsepError, match="is not the name of a model"):
        pull_model("htdemucs", endpoint=hub.endpoint)
    assert cached() == ["models"]


def test_missing_repository_and_file_are_one_sentence(hub: FakeHub) -> None:
    with pytest.raises(StreamsepError, match="cannot fetch adefossez/HTDemucs from http"):
        pull_model("htdemucs", endpoint=hub.endpoint)
    hub.files["adefossez/HTDemucs/htdemucs.yaml"] = b"models: ['955717e8']\n"
    with pytest.raises(StreamsepError, match="cannot fetch") as caught:
        pull_model("htdemucs", endpoint=hub.endpoint)
    assert "\n" not in str(caught.value)
    assert cached() == ["models"]


def test_no_network_is_one_quick_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    start = time.monotonic()
    with pytest.raises(StreamsepError, match="check the network") as caught:
        pull_model("htdemucs", endpoint=f"http://127.0.0.1:{port}")
    assert time.monotonic() - start < 20
    assert "\n" not in str(caught.value)


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(StreamsepError, match=r"pip install 'streamsep\[hub\]'"):
        pull_model("htdemucs")


def test_cache_that_cannot_be_written(hub: FakeHub, model: HTDemucs, tmp_path: Path) -> None:
    publish(hub, model, tmp_path)
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StreamsepError, match="set STREAMSEP_CACHE"):
        pull_model("htdemucs", endpoint=hub.endpoint)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mdx_extra", "older class Demucs or HDemucs"),
        ("live-6", "no weights of the preset live-6"),
        ("htdemux", "did you mean htdemucs"),
        ("zzz", "what can be pulled: htdemucs, htdemucs_6s, htdemucs_ft"),
    ],
)
def test_names_that_cannot_be_pulled(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSEP_CACHE", str(tmp_path))
    with pytest.raises(StreamsepError, match=message):
        pull_model(name)
