"""What readers of mesh files find, before the parts are joined into one mesh."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Part:
    """What hangs on one node, `matrix` still to be applied. `picture` is a PIL image."""

    vertices: np.ndarray
    faces: np.ndarray
    matrix: np.ndarray
    uv: np.ndarray | None = None
    picture: Any = None
    colors: np.ndarray | None = None


@dataclass(frozen=True)
class Parts:
    """All that a file holds."""

    parts: list[Part]
    facts: Mapping[str, Any] = field(default_factory=dict)
    lacks: str | None = None


def srgb_bytes(light: np.ndarray) -> np.ndarray:
    """Linear light (floats in [0, 1], or integers whose largest number means 1) as sRGB bytes (IEC 61966-2-1).

    >>> srgb_bytes(np.array([0.0, 0.503, 1.0])).tolist()
    [0, 188, 255]
    """
    most = np.iinfo(light.dtype).max if light.dtype.kind in "ui" else 1
    c = np.clip(light.astype(np.float64) / most, 0, 1)
    encoded = np.where(c <= 0.0031308, 12.92 * c, 1.055 * np.maximum(c, 1e-9) ** (1 / 2.4) - 0.055)
    return (255 * encoded).round().astype(np.uint8)
