"""Where an asset stands, how large it is, and which way is up: from the scene's world to the file's own frame."""

import json
import re
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.export.asset import UP_Y, UP_Z, Asset
from nerf3d.export.glb import rotation_to_y

Origin = Literal["scene", "base", "center"]
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048}


@dataclass(frozen=True)
class Frame:
    """`origin`: where the file's origin is: the scene's own, or below the object (it stands on the ground), or its middle.
    `metres`: how long one unit is. `one_tall`: first make the object one unit tall. `up`: the file's upward axis; None for
    what the format is used to.
    """

    origin: Origin = "scene"
    metres: float = 1.0
    one_tall: bool = False
    up: Literal["y", "z"] | None = None


def length(text: str) -> float:
    """Metres of "1m", "30cm", "2.5 ft" ...

    >>> length("30cm")
    0.3
    """
    found = re.fullmatch(r"([0-9]*\.?[0-9]+(?:e-?[0-9]+)?) ?([a-z]+)", text.strip().lower())
    if found is None or found[2] not in UNITS or float(found[1]) <= 0:
        raise InputError(f"{text!r} is no length; give a number and one of {', '.join(UNITS)}, as in 30cm")
    return float(found[1]) * UNITS[found[2]]


def put(asset: Asset, frame: Frame, suffix: str) -> Asset:
    """The asset in the file's frame, with the matrix that leads there from the scene's world among its facts.

    A .glb is Y up whatever it is asked for, by a node's matrix: its positions stay as they are in that respect. .obj and
    .usdz are Y up and .ply stays as it is, unless `frame.up` says otherwise; .stl is Z up, and in millimetres, as printers
    take it, where lengths mean something.
    """
    up = torch.tensor(asset.up, dtype=torch.float64)
    x = asset.vertices.double()
    along = x @ up
    height = float(along.max() - along.min())
    real = frame.one_tall or frame.metres != 1
    millimetres = real and suffix == ".stl"
    scale = (1000 if millimetres else 1) * frame.metres / (height if frame.one_tall and height > 0 else 1.0)
    middle = 0.5 * (x.amin(0) + x.amax(0))
    if frame.origin == "scene":
        start = torch.zeros(3, dtype=torch.float64)
    else:
        start = middle + up * (0.5 * (along.max() + along.min()) - middle @ up)
        start = start - up * (0.5 * height) if frame.origin == "base" else start
    turn = _turn(asset, frame, suffix)
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3] = scale * turn
    matrix[:3, 3] = -scale * (turn @ start)
    new_up = (turn @ up).tolist()
    facts = asset.facts | {"asset_from_world": json.dumps([[round(v, 9) for v in row] for row in matrix.tolist()])}
    return replace(
        asset,
        vertices=((x - start) @ turn.T * scale).float(),
        normals=(asset.normals.double() @ turn.T).float(),
        up=(new_up[0], new_up[1], new_up[2]),
        facts=facts | {"units": "millimetres" if millimetres else "metres" if real else "the scene's own units"},
    )


def _turn(asset: Asset, frame: Frame, suffix: str) -> Tensor:
    """The rotation of positions in the file, which formats with an upward axis of their own do without."""
    if suffix == ".glb" and frame.up == "z":
        raise InputError(
            "a .glb is Y up by its standard, and programs turn it on import; leave --up away, or take .obj"
        )
    axis = frame.up or ("y" if suffix in (".obj", ".usdz") else None)
    if axis is None or suffix == ".glb":
        return torch.eye(3, dtype=torch.float64)
    to_y = rotation_to_y(torch.tensor(asset.up))
    if axis == "y":
        return _exact(to_y, asset.up, UP_Y)
    from_z = rotation_to_y(torch.tensor(UP_Z))
    return _exact(from_z.T @ to_y, asset.up, UP_Z)


def _exact(turn: Tensor, up: tuple[float, float, float], goal: tuple[float, float, float]) -> Tensor:
    """Without rounding errors where nothing is to be turned: a capture keeps its numbers."""
    same = torch.allclose(torch.tensor(up), torch.tensor(goal), atol=1e-6)
    return torch.eye(3, dtype=torch.float64) if same else turn
