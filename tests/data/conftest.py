"""A local HTTP server with the faults of real ones, and the folder of real data where it is present."""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from projects import ROOT

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """Serves `content` by path; `answers` replace the next requests for a path, one each."""

    content: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    ranges: bool = True
    url: str = ""


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            server.requests.append((self.path, wanted))
            if server.answers.get(self.path):
                server.answers[self.path].pop(0)(self)
                return
            body = server.content.get(self.path)
            if body is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
            if start >= len(body) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            self.wfile.write(body[start:])

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    listener.shutdown()
    listener.server_close()
    thread.join()


@pytest.fixture(scope="session")
def data_with() -> Callable[[str], Path]:
    """Called with a file that a test reads: the data root that holds it, or a skip.

    The root is $TCMAX_DATA, or the folder `data` beside the specifications (env TCMAX_SHARED).
    """
    shared = Path(os.environ.get("TCMAX_SHARED", ROOT.parent / "shared"))
    root = Path(os.environ.get("TCMAX_DATA") or shared / "data")

    def root_or_skip(file: str) -> Path:
        if not (root / file).is_file():
            pytest.skip(f"real data are not here: no {file} below {root} (TCMAX_DATA)")
        return root

    return root_or_skip


@pytest.fixture(scope="session")
def real_data(data_with: Callable[[str], Path]) -> Path:
    """The folder of real data that av-digits is built from, or a skip."""
    return data_with("fsdd/recordings.tar")
