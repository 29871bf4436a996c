"""Downloads against a real server on this machine that breaks off, lies or refuses."""

import hashlib
import http.server
import threading

import pytest

from jphys.data.download import download

CONTENT = bytes(range(256)) * 4000  # 1,024,000 bytes
MD5 = hashlib.md5(CONTENT).hexdigest()


class _Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT with ranges; the first `n_cuts` answers break off after `cut` bytes."""

    n_cuts, cut, ranges, served, status = 0, 300_000, True, CONTENT, 200
    asked: list[str | None]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.path != "/file":
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        body = self.server.served[start:]
        self.send_response(206 if wanted and self.server.ranges else self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if len(self.server.asked) <= self.server.n_cuts:
            body = body[: self.server.cut]
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    server = _Server(("127.0.0.1", 0), _Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def _url(server, path="/file") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


def test_broken_download_is_resumed_where_it_stopped(server, tmp_path):
    server.n_cuts = 1
    path = download(_url(server), tmp_path / "new" / "file.bin", size=len(CONTENT), md5=MD5)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=0-", "bytes=300000-"]
    assert [file.name for file in path.parent.iterdir()] == ["file.bin"]


def test_partial_file_of_an_earlier_call_is_continued(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:500_000])
    path = download(_url(server), tmp_path / "file.bin", size=len(CONTENT), md5=MD5)
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=500000-"]


def test_server_without_ranges_starts_again(server, tmp_path):
    server.ranges = False
    (tmp_path / "file.bin.part").write_bytes(b"x" * 10)
    path = download(_url(server), tmp_path / "file.bin", size=len(CONTENT), md5=MD5)
    assert path.read_bytes() == CONTENT


def test_complete_file_is_not_fetched_again(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)
    download(_url(server), tmp_path / "file.bin", size=len(CONTENT), md5=MD5)
    assert server.asked == []


def test_server_that_keeps_breaking_off_is_an_error_and_keeps_what_came(server, tmp_path):
    server.n_cuts, server.cut = 100, 0
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    with pytest.raises(ConnectionError, match="could not be read beyond byte 1,000 of 1,024,000"):
        download(_url(server), tmp_path / "file.bin", size=len(CONTENT), md5=MD5)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:1000]
    assert not (tmp_path / "file.bin").exists()


@pytest.mark.parametrize("served", [CONTENT[:-1] + b"x", CONTENT + b"more"], ids=["altered", "longer"])
def test_wrong_content_is_refused_and_removed(server, tmp_path, served):
    server.served = served
    with pytest.raises(ValueError, match=f"must give 1,024,000 bytes with MD5 {MD5}, got"):
        download(_url(server), tmp_path / "file.bin", size=len(CONTENT), md5=MD5)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_is_an_error_at_once(server, tmp_path):
    with pytest.raises(ConnectionError, match="404"):
        download(_url(server, "/other"), tmp_path / "file.bin", size=len(CONTENT), md5=MD5)
    assert len(server.asked) == 1


@pytest.mark.parametrize(("status", "served"), [(200, b"<html>log in"), (202, b"")])
def test_an_answer_that_is_not_the_file_keeps_what_came(server, tmp_path, status, served):
    server.ranges, server.status, server.served = False, status, served
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:900])
    with pytest.raises(ConnectionError, match=f"status {status} and {len(served)} bytes"):
        download(_url(server), tmp_path / "file.bin", size=len(CONTENT), md5=MD5)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:900]
