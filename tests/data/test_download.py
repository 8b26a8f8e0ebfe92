"""Downloads against a server on this machine that misbehaves on purpose."""

import hashlib
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from zipfile import ZipFile

import pytest
import yaml

from emlib.data import download
from emlib.data.download import default_data_dir, fetch_dataset

CONTENT = {
    "a b.txt": b"first",
    "deep/one.bin": bytes(range(256)) * 3000,
    "deep/two.bin": b"",
    "last.txt": b"the last one",
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        path = self.path.removeprefix("/data/").replace("%20", " ")
        server.asked[path] += 1
        behaviour = server.behaviour.get(path, [])
        action = behaviour.pop(0) if behaviour else "good"
        content = server.content.get(path)
        if isinstance(action, int) or content is None:
            self.send_error(action if isinstance(action, int) else 404)
            return
        body = b"\x00" * len(content) if action == "wrong" else content
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) // 2 if action == "short" else len(body)))
        self.end_headers()
        self.wfile.write(body if action in ("good", "wrong") else body[: len(body) // 2])
        if action == "drop":
            self.wfile.flush()
            self.connection.close()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.behaviour, server.content = Counter(), {}, dict(CONTENT)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def base(server):
    return f"http://127.0.0.1:{server.server_address[1]}/data/"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(download, "TIMEOUT", 5.0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "EMLIB_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def dataset(base, tmp_path, monkeypatch):
    lines = [f"{p}\t{len(c)}\t{hashlib.sha256(c).hexdigest()}" for p, c in CONTENT.items()]
    (tmp_path / "toy.tsv").write_text("path\tbytes\tsha256\n" + "\n".join(lines) + "\n")
    common = {
        "title": "Toy",
        "modality": "none",
        "labels": "none",
        "licence": "CC0",
        "citation": "Nobody, 2020.",
        "doi": None,
        "page": "https://example.org/toy",
        "voxel_size": [1.0, 1.0, 1.0],
    }
    with ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("inside/x.txt", "packed")
    packed = (tmp_path / "packed.zip").read_bytes()
    source = {"url": base + "packed.zip", "sha256": hashlib.sha256(packed).hexdigest(), "bytes": len(packed)}
    entries = {
        "toy": common | {"kind": "files", "files": "toy.tsv", "base_urls": {"": base}},
        "packed": common | {"kind": "archive", "archive": source},
        "locked": common | {"kind": "by hand", "expected": ["a/*.tif", "b.h5"], "layout": "a/ and b.h5"},
    }
    (tmp_path / "registry.yaml").write_text(yaml.safe_dump(entries))
    monkeypatch.setenv("EMLIB_REGISTRY", str(tmp_path / "registry.yaml"))
    return packed


def fetch(tmp_path, name="toy", **options):
    return fetch_dataset(name, data_dir=tmp_path / "cache", progress=False, **options)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write_copy(folder, content=None):
    for path, data in (content or CONTENT).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_downloads_everything_once(dataset, server, tmp_path):
    folder = fetch(tmp_path)
    assert folder == tmp_path / "cache" / "toy"
    assert contents(folder) == dict(sorted(CONTENT.items()))
    assert fetch(tmp_path) == folder
    assert set(server.asked.values()) == {1}


@pytest.mark.parametrize("action", ["drop", "short", "wrong", 500, 503])
def test_a_passing_fault_is_overcome(dataset, server, tmp_path, action):
    server.behaviour["deep/one.bin"] = [action, action]
    assert contents(fetch(tmp_path)) == dict(sorted(CONTENT.items()))
    assert server.asked["deep/one.bin"] == 3


@pytest.mark.parametrize(
    "action, match, asked",
    [
        ("drop", "broke off", download.ATTEMPTS),
        ("wrong", "what arrived has another sha256", download.ATTEMPTS),
        ("short", "what arrived has 384000 bytes instead of 768000", download.ATTEMPTS),
        (500, "answered 500", download.ATTEMPTS),
        (404, "answered 404", 1),
    ],
)
def test_a_lasting_fault_is_one_sentence_and_leaves_no_partial_file(
    dataset, server, base, tmp_path, action, match, asked
):
    server.behaviour["deep/one.bin"] = [action] * 9
    with pytest.raises(OSError, match=match) as caught:
        fetch(tmp_path)
    assert base + "deep/one.bin" in str(caught.value)
    assert "EMLIB_DATA" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.asked["deep/one.bin"] == asked
    left = contents(tmp_path / "cache")
    assert all(CONTENT[name.removeprefix("toy/")] == data for name, data in left.items())
    assert "toy/deep/one.bin" not in left


def test_goes_on_where_it_stopped(dataset, server, tmp_path):
    server.behaviour["last.txt"] = [404]
    with pytest.raises(OSError, match="404"):
        fetch(tmp_path)
    done = set(contents(tmp_path / "cache" / "toy"))
    server.asked.clear()
    fetch(tmp_path)
    assert "last.txt" not in done
    assert set(server.asked) == set(CONTENT) - done


def test_a_damaged_file_in_the_cache_is_fetched_again(dataset, server, tmp_path):
    folder = fetch(tmp_path)
    (folder / "deep" / "one.bin").write_bytes(CONTENT["deep/one.bin"][:-1])
    (folder / "last.txt").write_bytes(b"THE LAST ONE")
    server.asked.clear()
    assert contents(fetch(tmp_path)) == dict(sorted(CONTENT.items()))
    assert dict(server.asked) == {"deep/one.bin": 1, "last.txt": 1}


def test_offline_is_one_sentence(dataset, server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(OSError, match=r"no connection.*by hand into .*cache/toy.*example\.org") as caught:
        fetch(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_local_copy_is_used_and_never_written(dataset, server, tmp_path, monkeypatch):
    local = write_copy(tmp_path / "mine" / "toy", CONTENT | {"README.md": b"extra"})
    before = {path: path.stat().st_mtime_ns for path in local.rglob("*")}
    monkeypatch.setenv("EMLIB_DATA", str(tmp_path / "mine"))
    assert fetch(tmp_path) == local
    assert not server.asked
    assert not (tmp_path / "cache").exists()
    assert {path: path.stat().st_mtime_ns for path in local.rglob("*")} == before


@pytest.mark.parametrize("data, match", [(b"THE LAST ONE", "another sha256"), (b"x", "1 bytes"), (None, "missing")])
def test_a_wrong_local_copy_stops(dataset, server, tmp_path, monkeypatch, data, match):
    local = write_copy(tmp_path / "mine" / "toy")
    if data is None:
        (local / "last.txt").unlink()
    else:
        (local / "last.txt").write_bytes(data)
    monkeypatch.setenv("EMLIB_DATA", str(tmp_path / "mine"))
    with pytest.raises(ValueError, match=rf"last\.txt .*{match}") as caught:
        fetch(tmp_path)
    assert "\n" not in str(caught.value)
    assert not server.asked
    assert fetch(tmp_path, ignore_local=True) == tmp_path / "cache" / "toy"


def test_emlib_data_without_this_set_downloads_and_a_wrong_one_stops(dataset, server, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("EMLIB_DATA", str(tmp_path / "mine"))
    assert fetch(tmp_path) == tmp_path / "cache" / "toy"
    monkeypatch.setenv("EMLIB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="EMLIB_DATA names"):
        fetch(tmp_path)


def test_archive_is_downloaded_verified_and_unpacked_once(dataset, server, tmp_path):
    server.content["packed.zip"] = dataset
    server.behaviour["packed.zip"] = ["drop"]
    folder = fetch(tmp_path, "packed")
    assert contents(folder) == {"inside/x.txt": b"packed"}
    assert fetch(tmp_path, "packed") == folder
    assert server.asked["packed.zip"] == 2


def test_local_unpacked_archive(dataset, server, tmp_path, monkeypatch):
    (tmp_path / "mine" / "packed").mkdir(parents=True)
    monkeypatch.setenv("EMLIB_DATA", str(tmp_path / "mine"))
    with pytest.raises(ValueError, match="is empty"):
        fetch(tmp_path, "packed")
    (tmp_path / "mine" / "packed" / "x.txt").write_text("packed")
    assert fetch(tmp_path, "packed") == tmp_path / "mine" / "packed"


def test_by_hand(dataset, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"by hand from https://example\.org/toy.*cache/locked.*a/ and b\.h5"):
        fetch(tmp_path, "locked")
    folder = write_copy(tmp_path / "cache" / "locked", {"a/0.tif": b"1"})
    with pytest.raises(FileNotFoundError, match=r"lacks b\.h5"):
        fetch(tmp_path, "locked")
    write_copy(folder, {"b.h5": b"2"})
    assert fetch(tmp_path, "locked") == folder
    local = write_copy(tmp_path / "mine" / "locked", {"a/0.tif": b"1", "b.h5": b"2"})
    monkeypatch.setenv("EMLIB_DATA", str(tmp_path / "mine"))
    assert fetch(tmp_path, "locked") == local


def test_full_disk_is_one_sentence(dataset, server, tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_transfer", full)
    with pytest.raises(OSError, match="the disk is full"):
        fetch(tmp_path)
    assert not contents(tmp_path / "cache")


def test_default_folder(monkeypatch, tmp_path):
    assert default_data_dir().parts[-2:] == ("data", "downloads")
    monkeypatch.setattr(download, "checkout_folder", lambda: tmp_path)
    assert "emlib" in str(default_data_dir())
    assert not str(default_data_dir()).startswith(str(tmp_path))
