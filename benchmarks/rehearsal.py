"""CREMA-D at full size, on made-up media: prepared in one go, and prepared under five hard kills, to the same bytes.

    python benchmarks/rehearsal.py [--clips 7442] [--kills 5] [--processes 1] [--folder DIR]

Needs the released lists (TCMAX_DATA holds splits/CREMAD). Every clip of them is made as it is published: an .flv with
Sorenson's H.263 at 25 frames a second and MP3 sound, a .wav at 16 kHz, two seconds or more, each of its own content;
only the frames are small (96 x 72). Kills are SIGKILL at random shares of the work: of the command alone, whose process
is then an orphan, and of both in turn. At full size it takes some 20 minutes of one core.
"""

import argparse
import csv
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np

from tcmax.commands.prepare_media import Choices, prepare_media
from tcmax.data.base import data_root
from tcmax.data.media.clips import clip_set, read_lists
from tcmax.data.media.store import SHARDS, Effort, Store
from tcmax.records.files import sha256

FPS, HEIGHT, WIDTH = 25, 72, 96
WAV_HZ, MP3_HZ = 16_000, 44_100


def write_lists(folder: Path, n_clips: int) -> list[str]:
    """The released lists, or every so-maniest clip of them, below `folder`; returns the names."""
    root = data_root()
    if root is None:
        sys.exit("set TCMAX_DATA to the folder that holds splits/CREMAD")
    chosen = clip_set("crema-d")
    listed = read_lists(chosen, root)
    rows = np.unique(np.linspace(0, len(listed.clips) - 1, n_clips).round().astype(int)).tolist()
    for part, file in chosen.lists.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        lines = [(listed.clips[r], listed.class_names[listed.labels[r]]) for r in rows if listed.parts[r] == part]
        with (folder / file).open("w", newline="") as stream:
            csv.writer(stream).writerows(lines)
    return [listed.clips[row] for row in rows]


def write_clip(media: Path, name: str, number: int) -> None:
    """Both files of a clip: a bright bar that moves over a slope of colours, and two tones; all differ by clip."""
    rng = np.random.default_rng(number)
    seconds = 2.0 + 0.04 * (number % 20)
    n_frames = round(seconds * FPS)
    low, high, speed = rng.uniform(90, 400), rng.uniform(500, 2_000), rng.uniform(0.5, 3)

    def tones(rate_hz: int) -> np.ndarray:
        t = np.arange(round(seconds * rate_hz)) / rate_hz
        return 0.3 * np.sin(2 * np.pi * low * t) + 0.2 * np.sin(2 * np.pi * high * t) * (1 - t / seconds)

    with wave.open(str(media / "AudioWAV" / f"{name}.wav"), "wb") as stream:
        stream.setparams((1, 2, WAV_HZ, 0, "NONE", ""))
        stream.writeframes((tones(WAV_HZ) * 32_767).astype("<i2").tobytes())

    slope = np.linspace(0, 120, WIDTH)[:, None] * rng.random(3) + rng.integers(0, 80, 3)
    still = np.broadcast_to(slope, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    with av.open(str(media / "VideoFlash" / f"{name}.flv"), "w") as output:
        video = output.add_stream("flv", rate=FPS)
        video.width, video.height, video.pix_fmt, video.bit_rate = WIDTH, HEIGHT, "yuv420p", 400_000
        audio = output.add_stream("libmp3lame", rate=MP3_HZ, layout="mono")
        for k in range(n_frames):
            picture = still.copy()
            picture[:, int(k * speed + number) % (WIDTH - 8) :][:, :8] = 230
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(video.encode(None))
        samples = tones(MP3_HZ).astype(np.float32)[None]
        step = audio.codec_context.frame_size
        for start in range(0, samples.shape[1], step):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples[:, start : start + step]), format="fltp", layout="mono"
            )
            frame.rate, frame.pts = MP3_HZ, start
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))


def command(folder: Path, store: Path, arguments: argparse.Namespace) -> subprocess.Popen[bytes]:
    """The preparation as a process of its own."""
    here = [sys.executable, __file__, "--prepare", str(store), "--folder", str(folder)]
    here += ["--processes", str(arguments.processes), "--size", str(arguments.size)]
    return subprocess.Popen(here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def prepare(arguments: argparse.Namespace) -> None:
    # A pause of the whole machine is not a clip that hangs.
    effort = Effort(arguments.processes, failed_share=0.0, item_seconds=86_400)
    folder = Path(arguments.folder)
    prepare_media("crema-d", folder / "media", Path(arguments.prepare), folder, Choices(size=arguments.size), effort)


def n_finished(store: Path) -> int:
    return len(list((store / SHARDS).glob("[0-9]*.json")))


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def killed(process: subprocess.Popen[bytes], store: Path, at: int, rng: random.Random, workers: bool) -> str:
    """Let the command finish `at` shards and a little more, then kill it, with its processes or without."""
    while n_finished(store) < at and process.poll() is None:
        time.sleep(0.02)
    time.sleep(rng.uniform(0, 5))
    if process.poll() is not None:
        raise SystemExit(f"preparation ended with status {process.returncode} before it was to be killed")
    hit = [process.pid, *(children_of(process.pid) if workers else [])]
    for pid in hit:
        os.kill(pid, signal.SIGKILL)
    process.wait()
    return f"{n_finished(store)} shards finished, {'command and its processes' if workers else 'command alone'}"


def tree(store: Path) -> dict[str, str]:
    """Checksum of every file of a store."""
    found = sorted(path for path in store.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(store)): sha256(path) for path in found}


def child_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rehearse(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    rng = random.Random(arguments.seed)
    clips = write_lists(folder, arguments.clips)
    began = time.process_time()
    for kind in ("AudioWAV", "VideoFlash"):
        (folder / "media" / kind).mkdir(parents=True)
    for number, name in enumerate(clips):
        write_clip(folder / "media", name, number)
    made = time.process_time() - began
    media = [path for path in (folder / "media").rglob("*") if path.is_file()]
    checksums = {sha256(path) for path in media}
    facts: dict[str, Any] = {
        "clips": len(clips),
        "media files": len(media),
        "distinct media files": len(checksums),
        "media MB": round(sum(path.stat().st_size for path in media) / 1e6, 1),
        "CPU seconds to make media": round(made, 1),
    }
    print(json.dumps(facts, indent=1), flush=True)

    began, wall = child_seconds(), time.monotonic()
    whole = command(folder, folder / "whole", arguments)
    if whole.wait() != 0:
        raise SystemExit(f"preparation ended with status {whole.returncode}")
    facts["CPU seconds, in one go"] = round(child_seconds() - began, 1)
    facts["seconds, in one go"] = round(time.monotonic() - wall, 1)
    Store(folder / "whole").verify()
    expected = tree(folder / "whole")
    n_shards = n_finished(folder / "whole")
    facts["store MB"] = round(
        sum(path.stat().st_size for path in (folder / "whole").rglob("*") if path.is_file()) / 1e6
    )
    facts["shards"] = n_shards
    facts["rows ready"] = int(Store(folder / "whole").ready.sum())
    shutil.rmtree(folder / "whole")
    print(json.dumps(facts, indent=1), flush=True)

    kills = []
    for number, share in enumerate(sorted(rng.random() for _ in range(arguments.kills))):
        process = command(folder, folder / "killed", arguments)
        kills.append(killed(process, folder / "killed", int(share * n_shards), rng, workers=number % 2 == 1))
        print(kills[-1], flush=True)
    last = command(folder, folder / "killed", arguments)
    if last.wait() != 0:
        raise SystemExit(f"the resumed preparation ended with status {last.returncode}")
    facts["kills"] = kills
    found = tree(folder / "killed")
    facts["files compared"] = len(expected)
    facts["files that differ"] = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=7_442, help="how many, spread over the lists")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--size", type=int, default=224, help="side of stored frames")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--folder", help="where to work (a temporary folder else); needs 7 GB at full size")
    parser.add_argument("--prepare", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        prepare(arguments)
        return
    if arguments.folder:
        Path(arguments.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        facts = rehearse(Path(folder), arguments)
    print(json.dumps(facts, indent=1))
    if facts["files that differ"]:
        sys.exit("the stores differ")


if __name__ == "__main__":
    main()
