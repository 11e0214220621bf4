"""tcmax: is a claimed gain in multimodal learning real?

The public names below are resolved on first use (PEP 562), so that `import tcmax.stats` starts without torch.
"""

from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "TCMaxLoss": "tcmax.information.total_correlation",
    "total_correlation_loss": "tcmax.information.total_correlation",
}
__all__ = ["TCMaxLoss", "__version__", "total_correlation_loss"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tcmax' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
