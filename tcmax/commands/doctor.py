"""`tcmax doctor`: versions, devices, data roots, and what is missing for which task."""

import os
import shutil
from importlib import metadata
from importlib.util import find_spec

from tcmax.data.base import data_root
from tcmax.records import arithmetic, provenance

# What a missing package takes away, and how to get it.
_PARTS = {
    "training": (("torch", "torchvision", "torchaudio", "sklearn"), "pip install 'tcmax[train]'"),
    "datasets from raw media": (("av", "cv2", "PIL"), "pip install 'tcmax[media]'"),
    "features of CLIP models": (("open_clip", "safetensors"), "pip install 'tcmax[clip]'"),
    "statistics and reports": (
        ("scipy", "statsmodels", "pandas", "seaborn", "matplotlib", "jinja2"),
        "pip install 'tcmax[stats]'",
    ),
    "the DAG": (("snakemake",), "pip install 'tcmax[all]'"),
}


def doctor_text() -> str:
    """The report of `tcmax doctor`: facts first, then one line per thing that is missing."""
    lines = ["Versions"]
    lines += [f"  {name:<13} {version}" for name, version in {**provenance.versions(), **_more_versions()}.items()]
    lines += ["Devices", *(f"  {line}" for line in _devices())]
    lines += ["Arithmetic", *(f"  {line}" for line in _arithmetic())]
    root = data_root()
    lines += ["Data", f"  TCMAX_DATA    {root or 'not set'}"]
    lines += [f"  TCMAX_SOURCES {os.environ.get('TCMAX_SOURCES') or 'not set'}"]
    if root is not None:
        lines += [f"  {'readable' if os.access(root, os.R_OK) else 'NOT READABLE'}"]
    missing = _missing(root is not None and os.access(root, os.R_OK))
    lines += ["Missing", *(f"  {line}" for line in missing)] if missing else ["Nothing is missing."]
    return "\n".join(lines)


def _more_versions() -> dict[str, str]:
    found = {}
    for name in ("snakemake", "av", "opencv-python-headless", "seaborn", "matplotlib"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _devices() -> list[str]:
    hardware = provenance.hardware()
    lines = [f"cpu           {hardware['processor']}, {hardware['cores']} cores"]
    if find_spec("torch") is None:
        return lines
    import torch

    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        lines.append(f"cuda:{index}        {properties.name}, {properties.total_memory / 2**30:.0f} GiB")
    return lines if torch.cuda.is_available() else [*lines, "cuda          none visible"]


def _arithmetic() -> list[str]:
    """What the libraries that training and statistics load compute in."""
    used = arithmetic.record()
    lines = [f"mode          {used['mode']}", *(f"{library:<13} {path}" for library, path in used["paths"].items())]
    reason = arithmetic.lacking()
    return [*lines, f"NOT {arithmetic.PORTABLE}: {reason}"] if reason else lines


def _missing(data: bool) -> list[str]:
    lines = []
    for task, (modules, remedy) in _PARTS.items():
        absent = [module for module in modules if find_spec(module) is None]
        if absent:
            lines.append(f"{task}: {', '.join(absent)} ({remedy})")
    if shutil.which("pdflatex") is None:
        lines.append("paper.pdf: pdflatex with booktabs (Debian: texlive-latex-recommended)")
    if not data:
        lines.append("av-digits: a data root; set TCMAX_DATA and run `tcmax data fetch av-digits`")
    return lines
