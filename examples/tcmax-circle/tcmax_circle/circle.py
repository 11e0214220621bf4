"""Two noisy views of points on a circle: the quadrant is the class."""

import numpy as np

from tcmax.data.base import Card, Dataset, Fold, overlap_facts
from tcmax.seeding import generator

CARD = Card(
    title="Points on a circle, seen twice",
    licence="CC0",
    source="generated",
    citation="none",
)


def load() -> Dataset:
    """Views "left" and "right", each (400, 2)."""
    random = generator("data", "circle")
    labels = np.arange(400) % 4
    angle = np.pi / 2 * (labels + random.random(400))
    point = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    views = {side: point + 0.5 * random.standard_normal(point.shape) for side in ("left", "right")}
    plain = Dataset(
        id="circle",
        inputs={side: view.astype(np.float32) for side, view in views.items()},
        labels=labels,
        class_names=("first", "second", "third", "fourth"),
        items=np.array([f"point-{row:03d}" for row in range(400)]),
        folds=(Fold(train=np.arange(200), val=np.arange(200, 300), test=np.arange(300, 400)),),
        card=CARD,
    )
    return Dataset(**{**plain.__dict__, "facts": overlap_facts(plain)})
