"""Speed and memory of the TCMax loss, as ratios against cross-entropy and plain enumeration in one run.

    python benchmarks/loss.py [--repeats 25] [--out FILE]

One thread, forward and backward in float32; alternatives are interleaved and the least process time of each is
compared: what else a machine does only ever adds to it. Ratios are what to read; microseconds belong to the machine.
Memory is the largest number of live bytes above entry, from the profiler's allocation events. Nothing is written unless
--out names a file (JSON).
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.profiler import ProfilerActivity, profile

from tcmax import TCMaxLoss
from tcmax.information.total_correlation import exact

Case = tuple[dict[str, Tensor], Tensor]
Loss = Callable[[dict[str, Tensor], Tensor], Tensor]


def summed_cross_entropy(logits: dict[str, Tensor], labels: Tensor) -> Tensor:
    first, second = logits.values()
    return cross_entropy(first + second, labels)


def naive_pairs(logits: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Eq. 14 as one would first write it, and as the paper's code does: normalise all (B, B, C) cells, take the log of
    the matched ones."""
    first, second = logits.values()
    joint = first.unsqueeze(1) + second.unsqueeze(0)
    weights = (joint - joint.mean()).exp()
    share = weights / weights.sum()
    rows = torch.arange(len(labels))
    return -share[rows, rows, labels].log().mean()


def all_pairs(logits: dict[str, Tensor], labels: Tensor) -> Tensor:
    """Eq. 14 over the (B, B, C) tensor of all pairs with one log-sum-exp, without its constants."""
    first, second = logits.values()
    joint = first.unsqueeze(1) + second.unsqueeze(0)
    rows = torch.arange(len(labels))
    return joint.flatten().logsumexp(0) - joint[rows, rows, labels].mean()


def film(features: dict[str, Tensor]) -> Tensor:
    """A head that does not decouple: one modality scales and shifts the other."""
    scale, shift = features["audio"].chunk(2, dim=-1)
    return torch.nn.functional.linear((1 + scale) * features["video"] + shift, WEIGHT)


WEIGHT = torch.randn(31, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()


def batch(rows: int, widths: dict[str, int], n_classes: int) -> Case:
    generator = torch.Generator().manual_seed(rows)
    values = {name: torch.randn(rows, width, generator=generator).requires_grad_() for name, width in widths.items()}
    return values, torch.randint(n_classes, (rows,), generator=generator)


def step(loss: Loss, case: Case) -> None:
    logits, labels = case
    for value in logits.values():
        value.grad = None
    loss(logits, labels).backward()


def least_times(losses: dict[str, Loss], case: Case, repeats: int, loops: dict[str, int]) -> dict[str, float]:
    """Microseconds of one step of each loss."""
    times: dict[str, list[float]] = {name: [] for name in losses}
    for _ in range(repeats + 1):
        for name, loss in losses.items():
            start = time.process_time()
            for _ in range(loops[name]):
                step(loss, case)
            times[name].append((time.process_time() - start) / loops[name] * 1e6)
    return {name: min(values[1:]) for name, values in times.items()}  # the first repeat warms up


def peak_bytes(loss: Loss, case: Case) -> int:
    """Most bytes alive at once during a step, above those alive before it."""
    step(loss, case)
    for value in case[0].values():
        value.grad = None
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            loss(*case).backward()
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]")
    live = peak = 0
    for _, change in changes:
        live += change
        peak = max(peak, live)
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=25, help="interleaved repeats, at least 5")
    parser.add_argument("--out", type=Path, help="also write the rows to this JSON file")
    arguments = parser.parse_args()
    if arguments.repeats < 5:
        parser.error("--repeats is at least 5")
    torch.set_num_threads(1)
    rows: list[dict[str, object]] = []

    def report(what: str, value: float, sign: str, line: float, detail: str) -> None:
        met = value <= line if sign == "<=" else value >= line
        rows.append({"what": what, "ratio": value, "pass_line": f"{sign} {line:g}", "met": met, "detail": detail})
        print(f"{what:66s} {value:7.2f}x   {sign} {line:<4g} {'met' if met else 'MISSED':7s} {detail}", flush=True)

    loss = TCMaxLoss()
    print("(B, C, M); float32, one thread, least of", arguments.repeats, "interleaved repeats\n")
    for size, line, loops in ((64, 4.0, 200), (2048, 2.5, 10)):
        case = batch(size, {"audio": 309, "video": 309}, 309)
        losses: dict[str, Loss] = {"tcmax": loss, "cross-entropy": summed_cross_entropy}
        if size == 64:
            losses |= {"pairs": all_pairs, "naive": naive_pairs}
        often = {"tcmax": loops, "cross-entropy": loops, "pairs": 3, "naive": 5}
        took = least_times(losses, case, arguments.repeats, often)
        detail = f"{took['tcmax']:.0f} us against {took['cross-entropy']:.0f} us"
        what = f"time, TCMax / cross-entropy on summed logits, ({size}, 309, 2)"
        report(what, took["tcmax"] / took["cross-entropy"], "<=", line, detail)
        if size == 64:
            for name, what, least in (
                ("naive", "time, B^2 pairs normalised naively / TCMax, (64, 309, 2)", 50.0),
                ("pairs", "time, B^2 pairs with one log-sum-exp / TCMax, (64, 309, 2)", 20.0),
            ):
                detail = f"{took[name]:.0f} us against {took['tcmax']:.0f} us"
                report(what, took[name] / took["tcmax"], ">=", least, detail)
        unit = 2 * size * 309 * 4
        peak = peak_bytes(loss, case)
        detail = f"{peak / 2**20:.2f} MB"
        report(f"peak memory, TCMax / M B C 4 bytes, ({size}, 309, 2)", peak / unit, "<=", 4.0, detail)

    case = batch(64, {"audio": 128, "video": 64}, 31)
    at_once = peak_bytes(lambda features, labels: exact(features, labels, head=film, chunk_size=64**2), case)
    streamed = peak_bytes(lambda features, labels: exact(features, labels, head=film, chunk_size=256), case)
    detail = f"{streamed / 2**20:.2f} MB against {at_once / 2**20:.2f} MB"
    report("peak memory, FiLM head streamed / at once, (64, 31, 2)", streamed / at_once, "<=", 0.2, detail)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
