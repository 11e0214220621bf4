"""Every random stream is derived here, by hashing names, never by drawing from a shared generator.

A run has one root: (dataset, fold, seed). Named streams fan out from it ("order", "init", "noise", ...), so two
variants with the same seed share initialisation and batch order wherever they have the same parts, and a new
consumer of randomness never shifts another one.
"""

import hashlib
import json

import numpy as np


def derive(*names: str | int) -> int:
    """A 63-bit seed that is a pure function of `names` (order matters)."""
    text = json.dumps(names, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*names: str | int) -> np.random.Generator:
    """A NumPy generator for the stream of that name."""
    return np.random.Generator(np.random.PCG64(derive(*names)))
