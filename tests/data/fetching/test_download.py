"""Downloading over a real socket, with a server that misbehaves in the ways servers do."""

import socket
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tcmax.data.fetching.download import download
from tcmax.errors import TcmaxError

BODY = bytes(range(256)) * 2_000  # 512,000 bytes


def accept(path: Path) -> int:
    content = path.read_bytes()
    if content != BODY:
        raise TcmaxError(f"{len(content)} wrong bytes.")
    return len(content)


def fetch(server, path, *, file="/file", limit=10**6, attempts=3, **options):
    return download(
        [f"{server.url}{file}"], path, accept, limit_bytes=limit, attempts=attempts, pause_seconds=0.0, **options
    )


def cut_after(n_bytes: int):
    """Announce everything, send the first bytes (of what was asked for), hang up."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers["Range"]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(BODY) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        handler.end_headers()
        handler.wfile.write(BODY[start : start + n_bytes])

    return answer


def status(code: int):
    return lambda handler: handler.send_error(code)


def test_a_file_arrives_and_its_decoded_content_is_returned(server, tmp_path):
    server.content["/file"] = BODY
    shares = []
    assert fetch(server, tmp_path / "file.part", within=shares.append) == len(BODY)
    assert (tmp_path / "file.part").read_bytes() == BODY
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_cut_connection_is_continued_where_it_broke(server, tmp_path):
    server.content["/file"] = BODY
    server.answers["/file"] = [cut_after(200_000), cut_after(100_000)]
    assert fetch(server, tmp_path / "file.part") == len(BODY)
    assert [wanted for _, wanted in server.requests] == [None, "bytes=200000-", "bytes=300000-"]


def test_a_later_call_continues_what_an_earlier_one_left(server, tmp_path):
    server.content["/file"] = BODY
    server.answers["/file"] = [cut_after(200_000)]
    with pytest.raises(TcmaxError, match=r"gave up after 1 attempts .*200,000 of 512,000 bytes"):
        fetch(server, tmp_path / "file.part", attempts=1)
    assert fetch(server, tmp_path / "file.part") == len(BODY)
    assert server.requests[-1] == ("/file", "bytes=200000-")


def test_a_server_that_ignores_range_sends_all_and_nothing_is_doubled(server, tmp_path):
    server.content["/file"] = BODY
    server.ranges = False
    server.answers["/file"] = [cut_after(200_000)]
    assert fetch(server, tmp_path / "file.part") == len(BODY)
    assert (tmp_path / "file.part").read_bytes() == BODY


def test_a_range_that_was_not_asked_for_is_not_appended(server, tmp_path):
    def other_range(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", "bytes 7-11/12")
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"wrong")

    server.content["/file"] = BODY
    server.answers["/file"] = [cut_after(200_000), other_range]
    assert fetch(server, tmp_path / "file.part") == len(BODY)
    assert server.requests[-1] == ("/file", None)


def test_a_wrong_beginning_left_by_another_copy_is_thrown_away_and_fetched_again(server, tmp_path):
    server.content["/file"] = BODY
    (tmp_path / "file.part").write_bytes(b"x" * 1_000)
    assert fetch(server, tmp_path / "file.part") == len(BODY)
    assert [wanted for _, wanted in server.requests] == ["bytes=1000-", None]


def test_a_partial_file_that_is_too_long_is_thrown_away_and_fetched_again(server, tmp_path):
    server.content["/file"] = BODY
    (tmp_path / "file.part").write_bytes(BODY + b"x")
    assert fetch(server, tmp_path / "file.part") == len(BODY)
    assert [wanted for _, wanted in server.requests] == [f"bytes={len(BODY) + 1}-", None]


def test_a_complete_partial_file_is_accepted_without_another_byte(server, tmp_path):
    server.content["/file"] = BODY
    (tmp_path / "file.part").write_bytes(BODY)
    assert fetch(server, tmp_path / "file.part") == len(BODY)
    assert len(server.requests) == 1


def test_wrong_content_is_refused_and_not_kept(server, tmp_path):
    server.content["/file"] = b"<html>please log in</html>"
    with pytest.raises(TcmaxError, match=r"cannot download file: http://127.*: wrong content \(26 wrong bytes\)"):
        fetch(server, tmp_path / "file.part")
    assert not (tmp_path / "file.part").exists()
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again_and_an_absent_file_is_not(server, tmp_path):
    server.content["/file"] = BODY
    server.answers["/file"] = [status(503), status(429)]
    assert fetch(server, tmp_path / "file.part") == len(BODY)
    before = len(server.requests)
    with pytest.raises(TcmaxError, match="/absent: HTTP 404"):
        fetch(server, tmp_path / "absent.part", file="/absent")
    assert len(server.requests) == before + 1


def test_the_next_mirror_is_asked_when_one_has_not_got_it(server, tmp_path):
    server.content["/mirror/file"] = BODY
    urls = [f"{server.url}/file", f"{server.url}/mirror/file"]
    assert download(urls, tmp_path / "f.part", accept, limit_bytes=10**6, pause_seconds=0.0) == len(BODY)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
    with pytest.raises(TcmaxError, match=r"no connection .*HTTP 404") as raised:
        download([nowhere, urls[0]], tmp_path / "g.part", accept, limit_bytes=10**6, pause_seconds=0.0)
    assert "is there a network" not in str(raised.value)  # one of them answered


def test_more_than_the_limit_is_refused_whether_announced_or_not(server, tmp_path):
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(BODY)

    server.content["/file"] = BODY
    with pytest.raises(TcmaxError, match="announces 512,000 bytes, more than the 1,000"):
        fetch(server, tmp_path / "file.part", limit=1_000)
    server.answers["/file"] = [endless]
    with pytest.raises(TcmaxError, match="sends more than the 1,000 bytes"):
        fetch(server, tmp_path / "file.part", limit=1_000)
    assert not (tmp_path / "file.part").exists()
    assert fetch(server, tmp_path / "file.part", limit=len(BODY)) == len(BODY)


def test_a_response_without_length_that_breaks_off_is_found_by_its_content(server, tmp_path):
    def unannounced(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(BODY[:1_000])

    server.content["/file"] = BODY
    server.answers["/file"] = [unannounced]
    with pytest.raises(TcmaxError, match=r"wrong content \(1000 wrong bytes\)"):
        fetch(server, tmp_path / "file.part")


def test_a_silent_server_is_asked_again_while_it_is_silent(server, tmp_path):
    asked_again, noticed = threading.Event(), []

    def silent(handler: BaseHTTPRequestHandler) -> None:
        noticed.append(asked_again.wait(3))

    def whole(handler: BaseHTTPRequestHandler) -> None:
        asked_again.set()
        cut_after(len(BODY))(handler)

    server.answers["/file"] = [silent, whole]
    assert fetch(server, tmp_path / "file.part", timeout_seconds=0.1) == len(BODY)
    assert noticed == [True]


def test_pauses_double_from_attempt_to_attempt(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    server.answers["/file"] = [status(503)] * 4
    with pytest.raises(TcmaxError, match="gave up after 4 attempts"):
        download([f"{server.url}/file"], tmp_path / "file.part", accept, limit_bytes=10**6, attempts=4)
    assert pauses == [1, 2, 4]


def test_a_server_is_asked_for_the_bytes_as_they_are(server, tmp_path):
    def as_asked(handler: BaseHTTPRequestHandler) -> None:
        assert handler.headers["Accept-Encoding"] == "identity"  # or else a Range counts other bytes
        cut_after(len(BODY))(handler)

    server.answers["/file"] = [as_asked]
    assert fetch(server, tmp_path / "file.part", attempts=1) == len(BODY)


def test_offline_is_one_sentence_with_a_hint(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
    with pytest.raises(TcmaxError, match=r"no connection .*is there a network, or a proxy") as raised:
        download([url], tmp_path / "file.part", accept, limit_bytes=10**6, pause_seconds=0.0)
    assert "\n" not in str(raised.value)


def test_the_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    server.content["http://originals.invalid/file"] = BODY  # a proxy is asked for the whole address
    urls = ["http://originals.invalid/file"]
    assert download(urls, tmp_path / "file.part", accept, limit_bytes=10**6, pause_seconds=0.0) == len(BODY)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/file", "/etc/hostname"])
def test_only_web_addresses_are_opened(url, tmp_path):
    with pytest.raises(TcmaxError, match="not an http or https address"):
        download([url], tmp_path / "file.part", accept, limit_bytes=10**6)


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    server.content["/file"] = BODY
    with pytest.raises(TcmaxError, match=r"cannot write .*absent/file.part"):
        fetch(server, tmp_path / "absent" / "file.part")
