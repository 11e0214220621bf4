"""Downloading one file over HTTP so that a broken connection costs only what was under way.

Bytes are appended to a partial file, which survives an interruption and is continued with a Range request, on the
same day or another. Whether a file is right is decided by its decoded content alone: a partial file that turns out
wrong when complete (continued from another mirror's copy, say) is fetched once more from the start. Proxies are taken
from the environment (https_proxy, no_proxy), as urllib does.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tcmax.errors import TcmaxError
from tcmax.records.files import explained

T = TypeVar("T")

_CHUNK_BYTES = 1 << 16
_BUSY = {408, 425, 429, 500, 502, 503, 504}  # worth asking again


class _Refused(Exception):
    """This address will not give the file; another one may."""


class _Interrupted(Exception):
    """The transfer broke off; the same address may go on with it."""


def download(
    urls: Sequence[str],
    partial: Path,
    accept: Callable[[Path], T],
    *,
    limit_bytes: int,
    within: Callable[[float], None] = lambda share: None,
    attempts: int = 5,
    pause_seconds: float = 1.0,
    timeout_seconds: float = 30.0,
) -> T:
    """Fetch the first of `urls` that serves the right content into `partial`; return what `accept` makes of it.

    accept: decodes the complete file and checks it; a TcmaxError from it means wrong content.
    limit_bytes: a server that announces or sends more is refused.
    within: told the share (0-1) that has arrived, where the length is known.
    attempts: for each address; the pause between them doubles from `pause_seconds`.

    The file stays at `partial`, for the caller to move or delete. Raises TcmaxError naming every address and what was
    wrong with it; an incomplete `partial` is then kept for the next call.
    """
    problems = []
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise TcmaxError(f"{url} is not an http or https address.")
        try:
            return _from_one(url, partial, accept, limit_bytes, within, attempts, pause_seconds, timeout_seconds)
        except _Refused as problem:
            problems.append(f"{url}: {problem}")
    offline = all("no connection" in problem for problem in problems)
    hint = "; is there a network, or a proxy to name in https_proxy?" if offline else "."
    raise TcmaxError(f"cannot download {partial.stem}: {'; '.join(problems)}{hint}")


def _from_one(
    url: str,
    partial: Path,
    accept: Callable[[Path], T],
    limit_bytes: int,
    within: Callable[[float], None],
    attempts: int,
    pause_seconds: float,
    timeout_seconds: float,
) -> T:
    last = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause_seconds * 2 ** (attempt - 1))
        try:
            continued = _receive(url, partial, limit_bytes, within, timeout_seconds)
        except _Interrupted as problem:
            last = str(problem)
            continue
        try:
            return accept(partial)
        except TcmaxError as error:
            partial.unlink(missing_ok=True)
            last = str(error).rstrip(".")
            if not continued:
                raise _Refused(f"wrong content ({last})") from error
    raise _Refused(f"gave up after {attempts} attempts ({last})")


def _receive(url: str, partial: Path, limit_bytes: int, within: Callable[[float], None], timeout: float) -> bool:
    """Bring `partial` to its end; returns whether its beginning is from an earlier transfer."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "tcmax", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        # An opener of its own: the shared one keeps the proxies of its first use.
        opener = urllib.request.build_opener()
        with opener.open(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
            continued = response.status == 206 and (response.headers["Content-Range"] or "").startswith(
                f"bytes {have}-"
            )
            if response.status == 206 and not continued:
                partial.unlink()
                raise _Interrupted("the server sent another range than asked for")
            if not continued:
                have = 0
            length = response.headers["Content-Length"]
            total = have + int(length) if length is not None else None
            if total is not None and total > limit_bytes:
                raise _Refused(f"it announces {total:,} bytes, more than the {limit_bytes:,} expected at most")
            _append(response, partial, have, total, limit_bytes, within)
            return continued
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing lies beyond what we have: it is complete, or not this file
            return True
        if error.code in _BUSY:
            raise _Interrupted(f"HTTP {error.code} {error.reason}") from error
        raise _Refused(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:  # no connection at all: offline, unknown host, refused, bad certificate
        raise _Refused(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _Interrupted(f"the connection broke ({error})") from error


def _append(
    response: http.client.HTTPResponse,
    partial: Path,
    have: int,
    total: int | None,
    limit_bytes: int,
    within: Callable[[float], None],
) -> None:
    with explained("write", partial):
        stream = partial.open("ab" if have else "wb")
    with stream:
        while chunk := response.read(_CHUNK_BYTES):
            with explained("write", partial):
                stream.write(chunk)
            have += len(chunk)
            if have > limit_bytes:
                partial.unlink()
                raise _Refused(f"it sends more than the {limit_bytes:,} bytes expected at most")
            if total:
                within(have / total)
        with explained("write", partial):
            stream.flush()
    if total is not None and have < total:
        raise _Interrupted(f"the connection closed after {have:,} of {total:,} bytes")
