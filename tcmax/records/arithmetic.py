"""The arithmetic that numbers are computed in: which of their code paths torch, numpy and what they call may take.

These libraries choose among code paths by the processor, and the paths round differently. In the mode `portable` their
paths are fixed to some that every x86-64 processor with AVX2 and FMA has, so that equal runs have equal bytes whichever
of these computes them. Each library reads its variables once, when it is loaded: `fix` has to come before.

Torch and numpy are only looked at here where something else has loaded them.
"""

import ctypes
import hashlib
import os
import platform
import sys
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from tcmax.errors import TcmaxError

PORTABLE = "portable-1"  # counts up whenever these paths change, and then everything is computed anew
NATIVE = "native"
CHOICE = "TCMAX_ARITHMETIC"
# Each was seen to change bytes where it is not fixed. MKL's COMPATIBLE is the one branch that it also has on processors
# of other makers; it covers its exponentials and logarithms too. OpenBLAS' Prescott needs SSE3 alone.
_VARIABLES = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Prescott",
    "ARROW_USER_SIMD_LEVEL": "AVX2",
}
# One thread: how a sum is cut into threads changes how it is rounded.
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# What would change a path beside those above. Numpy refuses to load where this one and its counterpart are both set.
_REMOVED = ("NPY_ENABLE_CPU_FEATURES", "MKL_ENABLE_INSTRUCTIONS", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE")
# What numpy chooses among, from 2.4 on and before. It disregards a name it does not know, with a warning.
_NUMPY_FEATURES = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
_NUMPY_FEATURES_BEFORE = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
_FLAGS = ("avx2", "fma")
_CPUINFO = Path("/proc/cpuinfo")
# As the libraries name what they use: MKL by the number of its branch, OpenBLAS by the first processor with a kernel.
_MKL_BRANCHES = {1: "its choice", 2: "its choice", 3: "COMPATIBLE"}
_WANTED = {
    "torch": "AVX2",
    "MKL": "COMPATIBLE",
    "oneDNN": "AVX2",
    "numpy": "baseline",
    "OpenBLAS": "Katmai",
    "Arrow": "avx2",
}


def asked() -> str:
    """The mode that is asked for: PORTABLE, or NATIVE with TCMAX_ARITHMETIC=native."""
    choice = os.environ.get(CHOICE) or "portable"
    if choice not in ("portable", PORTABLE, NATIVE):
        raise TcmaxError(f"{CHOICE}={choice}: it takes portable or {NATIVE}.")
    return NATIVE if choice == NATIVE else PORTABLE


def lacking() -> str | None:
    """Why this machine cannot offer the portable arithmetic, or None."""
    machine = platform.machine()
    if machine.lower() not in ("x86_64", "amd64"):
        return f"its processor is {machine or 'unknown'}, not x86-64"
    if _CPUINFO.is_file():
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
        flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), list(_FLAGS))
        missing = [flag.upper() for flag in _FLAGS if flag not in flags]
        if missing:
            return f"its processor lacks {' and '.join(missing)}"
    return None


def variables() -> dict[str, str]:
    """The variables of the portable arithmetic and their values."""
    features = _NUMPY_FEATURES
    try:
        version = metadata.version("numpy")
        if tuple(int(part) for part in version.split(".")[:2]) < (2, 4):
            features = _NUMPY_FEATURES_BEFORE
    except (metadata.PackageNotFoundError, ValueError):
        pass
    return {**_VARIABLES, **_THREADS, "NPY_DISABLE_CPU_FEATURES": features}


def fix() -> None:
    """Set the variables of the mode that is asked for, whatever they were; no effect on a library that is loaded.

    On a machine that cannot offer the portable paths only threads are fixed: they would be illegal instructions there.
    """
    if asked() == NATIVE:
        return
    if lacking() is not None:
        os.environ.update(_THREADS)
        return
    for name in _REMOVED:
        os.environ.pop(name, None)
    os.environ.update(variables())


def paths() -> dict[str, str]:
    """Library -> the path it really uses, of those that are loaded; asked of the libraries, not of the environment."""
    arrow: Any = sys.modules.get("pyarrow")
    return {**_torch_paths(), **_numpy_paths(), **({"Arrow": str(arrow.runtime_info().simd_level)} if arrow else {})}


def _torch_paths() -> dict[str, str]:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "backends"):
        return {}
    found = {"torch": str(torch.backends.cpu.get_cpu_capability())}
    library = _loaded("libtorch_cpu")
    if library is not None and torch.backends.mkl.is_available() and hasattr(library, "mkl_serv_cbwr_get"):
        branch = int(library.mkl_serv_cbwr_get(1))
        found["MKL"] = _MKL_BRANCHES.get(branch, f"branch {branch}")
    found["oneDNN"] = os.environ.get("ONEDNN_MAX_CPU_ISA", "its choice")  # it does not tell: as it was told
    return found


def _numpy_paths() -> dict[str, str]:
    core = sys.modules.get("numpy._core._multiarray_umath") or sys.modules.get("numpy.core._multiarray_umath")
    if core is None:
        return {}
    features = [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
    found = {"numpy": " ".join(features) or "baseline"}
    names = ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename")
    library = _loaded("openblas")
    ask = next((getattr(library, name) for name in names if hasattr(library, name)), None)
    if ask is not None:
        ask.restype = ctypes.c_char_p
        found["OpenBLAS"] = ask().decode()
    return found


@cache
def _loaded(name: str) -> ctypes.CDLL | None:
    """The library of this name that is in this process already; None where that cannot be told."""
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return None
    for line in maps.read_text(encoding="utf-8", errors="replace").splitlines():
        file = line.split(maxsplit=5)[-1]
        if name in Path(file).name and Path(file).is_file():
            return ctypes.CDLL(file)
    return None


def differences() -> list[str]:
    """How the libraries that are loaded depart from the portable arithmetic; empty where they do not."""
    used = paths()
    return [f"{name} uses {path}, not {_WANTED[name]}" for name, path in used.items() if path != _WANTED[name]]


def mode() -> str:
    """The mode in force, for run keys: PORTABLE, or NATIVE with the probe, which tells processors apart."""
    return PORTABLE if asked() == PORTABLE and not differences() else f"{NATIVE} {probe()}"


def check() -> None:
    """Warn where the portable arithmetic is asked for and this process computes in another."""
    if asked() == NATIVE:
        return
    found = differences()
    if found:
        reason = lacking()
        remedy = (
            f"this machine cannot offer it ({reason})"
            if reason
            else "call tcmax.records.arithmetic.fix() before torch and numpy are imported"
        )
        warnings.warn(
            f"this process does not compute in {PORTABLE} arithmetic: {'; '.join(found)}. Its runs round otherwise "
            f"than those of other machines and are kept apart from them; {remedy}, or set {CHOICE}={NATIVE}.",
            stacklevel=3,
        )


def probe() -> str:
    """Digest of what the loaded libraries compute from fixed numbers: equal arithmetic and versions have equal ones."""
    return _probe(*(name in sys.modules for name in ("numpy", "torch")))


@cache
def _probe(with_numpy: bool, with_torch: bool) -> str:
    hashed = hashlib.sha256()
    np, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if np is not None:
        steps = np.arange(1, 73 * 97 + 1, dtype=np.float64).reshape(73, 97)
        values = (steps * 0.6180339887498949) % 1 - 0.5  # irregular, from one rounded product each
        single = values.astype(np.float32)
        for result in (values @ values.T, single @ single.T, np.exp(values), np.log(values + 1), np.tanh(single)):
            hashed.update(result.tobytes())
        if torch is not None and hasattr(torch, "backends"):
            hashed.update(_torch_probe(torch, torch.from_numpy(single)))
    return hashed.hexdigest()[:16]


def _torch_probe(torch: Any, values: Any) -> bytes:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            image, kernels = values[:72, :96].reshape(2, 16, 12, 18), values[:48, :96].reshape(32, 16, 3, 3)
            results = (
                values @ values.T,
                values.double() @ values.double().T,
                values.exp(),
                values.log_softmax(1),
                values.sum(0),
                torch.nn.functional.conv2d(image, kernels),
            )
            return b"".join(result.contiguous().numpy().tobytes() for result in results)
    finally:
        torch.set_num_threads(threads)


def record(device: str | None = None) -> dict[str, Any]:
    """What provenance keeps: the mode in force, the paths in use and the probe. device: the GPU that computed."""
    return {"mode": f"{mode()} on {device}" if device else mode(), "paths": paths(), "probe": probe()}


def of_processor(recorded: str) -> str:
    """A recorded mode without the GPU."""
    return recorded.partition(" on ")[0]


def described(recorded: Mapping[str, Any] | None) -> str:
    """A record in words; of files from before there was one, that there is none."""
    if not recorded:
        return "not recorded"
    used = ", ".join(f"{library} {path}" for library, path in recorded["paths"].items())
    return f"{recorded['mode']} ({used}; probe {recorded['probe']})"


def refuse_mixed(runs: Iterable[tuple[str, str | None]], where: str) -> None:
    """Raise TcmaxError where runs, each a name and its recorded mode, were not all computed in one arithmetic.

    Whoever asks for the native arithmetic may mix: then provenance and report say of each run how it was computed.
    """
    first: dict[str, str] = {}
    for name, recorded in runs:
        first.setdefault(recorded or "not recorded", name)
    if len(first) > 1 and asked() == PORTABLE:
        found = "; ".join(f"{recorded}: {name}" for recorded, name in first.items())
        raise TcmaxError(
            f"{where} mixes runs of different arithmetic ({found}). Train them again in one, or take them as they are "
            f"with {CHOICE}={NATIVE}."
        )
