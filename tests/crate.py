"""A small asset whose every corner and pixel is known: a crate of 1 x 2 x 3 units, one chart for each of its six sides."""

from dataclasses import replace

import torch

from nerf3d.export.asset import Asset, Textures

CENTER = torch.tensor([4.0, -2.0, 7.0])
SIZE = torch.tensor([1.0, 2.0, 3.0])
SIDES = [(axis, sign) for axis in range(3) for sign in (1, -1)]  # +x, -x, +y, -y, +z, -z
COLORS = torch.tensor([[250, 10, 30], [10, 250, 60], [20, 40, 250], [250, 240, 10], [10, 200, 220], [128, 64, 33]])
PICTURE = 64  # pixels, 4 x 2 charts of which six are used


def crate() -> Asset:
    """The asset, textured; the chart of side i is cell (i % 4, i // 4) of the atlas, counted from the lower left.

    Half of a chart's border of its cell is left free; each side has one colour, and a white pixel at the chart's lower left
    corner, which is its vertex 4 i.
    """
    places, normals, uv, faces = [], [], [], []
    for i, (axis, sign) in enumerate(SIDES):
        out = torch.zeros(3)
        out[axis] = sign
        right = torch.zeros(3)
        right[(axis + 1) % 3] = 1
        up = torch.linalg.cross(out, right)
        for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            places.append(CENTER + SIZE / 2 * (out + a * right + b * up))
            normals.append(out)
            uv.append(torch.tensor([(i % 4 + 0.5 + 0.25 * a) / 4, (i // 4 + 0.5 + 0.25 * b) / 2]))
        faces += [[4 * i, 4 * i + 1, 4 * i + 2], [4 * i, 4 * i + 2, 4 * i + 3]]
    return Asset(
        torch.stack(places),
        torch.tensor(faces),
        torch.stack(normals),
        uv=torch.stack(uv),
        textures=Textures(picture()),
        facts={"made by": "hand"},
    )


def picture() -> torch.Tensor:
    from_below = torch.zeros(PICTURE, PICTURE, 3, dtype=torch.uint8)
    wide, high = PICTURE // 4, PICTURE // 2
    for i, color in enumerate(COLORS):
        x, y = wide * (i % 4), high * (i // 4)
        from_below[y : y + high, x : x + wide] = color.to(torch.uint8)
        from_below[y + high // 4, x + wide // 4] = 255
    return from_below.flip(0)


def normal_map() -> torch.Tensor:
    """Flat, but for a slope to the right in the left half."""
    normals = torch.tensor([0.0, 0.0, 1.0]).repeat(32, 32, 1)
    normals[:, :16] = torch.tensor([0.6, 0.0, 0.8])
    return (127.5 * (normals + 1)).round().to(torch.uint8)


def bumpy_crate() -> Asset:
    """The crate with a normal map, to be lit."""
    return replace(crate(), textures=Textures(picture(), normal_map()), lit=True, roughness=0.4, metallic=0.25)


def painted_crate() -> Asset:
    """The crate with colours at its vertices in place of the texture."""
    colors = COLORS.to(torch.uint8).repeat_interleave(4, 0)
    return replace(crate(), uv=None, textures=None, colors=colors)
