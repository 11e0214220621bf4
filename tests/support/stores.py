"""Makers of small stores for tests; as a program it builds one: python stores.py FOLDER SOURCES PROCESSES [SECONDS]."""

import hashlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcmax.data.media import store
from tcmax.data.media.store import Array, Effort, Layout, build
from tcmax.errors import TcmaxError

ARRAYS = {"wave": Array((5,), "float32"), "frames": Array((2, 3), "uint8")}


def layout(n_items: int = 23, shard_items: int = 4, **settings: Any) -> Layout:
    return Layout(ARRAYS, tuple(f"item-{row}" for row in range(n_items)), {"version": 1, **settings}, shard_items)


def rows_of(content: bytes) -> dict[str, np.ndarray]:
    """What FromFiles makes of a file's content."""
    digest = np.frombuffer(hashlib.sha256(content).digest(), dtype=np.uint8)
    return {"wave": digest[:5].astype(np.float32), "frames": digest[5:11].reshape(2, 3).copy()}


@dataclass(frozen=True)
class FromFiles:
    """Row k from the file k.txt. Its content may be an order: "refuse", "nan", "die", "hang", "bug"."""

    folder: Path
    seconds: float = 0.0

    def sources(self, row: int) -> Mapping[str, Path]:
        path = self.folder / f"{row}.txt"
        if not path.is_file():
            raise TcmaxError(f"{path.name} is missing.")
        return {path.name: path}

    def __call__(self, row: int) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
        time.sleep(self.seconds)
        content = (self.folder / f"{row}.txt").read_bytes()
        match content:
            case b"refuse":
                raise TcmaxError(f"{row}.txt asks to be refused.")
            case b"die":
                os.kill(os.getpid(), signal.SIGSEGV)
            case b"hang":
                time.sleep(60)
            case b"bug":
                raise ZeroDivisionError("in a library")
        rows = rows_of(content)
        if content == b"nan":
            rows["wave"][2] = np.nan
        return rows, {"length": len(content)}


def sources(folder: Path, n_items: int = 23, **orders: str) -> Path:
    """Files 0.txt, 1.txt, ...; `orders` (_7="refuse") replaces the content of some."""
    folder.mkdir(exist_ok=True)
    for row in range(n_items):
        (folder / f"{row}.txt").write_text(orders.get(f"_{row}", f"content of {row}"))
    return folder


def make_here(folder, layout, make, effort, title, records, missing) -> None:  # type: ignore[no-untyped-def]
    """In place of `store._make_shards`: in this process, where another would load its libraries for seconds."""
    for shard in missing:
        records[shard] = store.make_shard(folder, layout, make, shard, {}, lambda row: None)
    store._check_failures(folder, store.failures(records), effort, len(layout.items))


def tree(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


if __name__ == "__main__":
    target, source, processes, *pause = sys.argv[1:]
    maker = FromFiles(Path(source), float(pause[0]) if pause else 0.0)
    build(Path(target), layout(), maker, Effort(int(processes), failed_share=1.0))
