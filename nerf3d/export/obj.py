"""A mesh as Wavefront OBJ, with a material library (MTL) and pictures (PNG) beside it, in the asset's own frame.

- Shape: with a texture, vertices on a seam are welded, since faces name positions and texture coordinates separately.
- Colours without a texture stand behind each vertex' position, a common extension (sRGB in [0, 1]).
- Light: `illum 0` asks for the colour as it is. Few programs listen; the others light the surface again.
- Roughness and metal: as `Pr` and `Pm`, a common extension, and as the old `Ns` and `Ks`, which other programs know.
- Normals: `norm` is the extension's word for a normal map. Blender looks for one under `map_Bump`, where the old standard
  has heights; so both are there.
- Names: the pictures are found beside the OBJ, by names that need no quotes and that no system refuses.
"""

import re
from zlib import crc32

import torch

from nerf3d.export.asset import Asset
from nerf3d.export.facts import comments
from nerf3d.export.png import png_bytes
from nerf3d.export.weld import welded

# Names that Windows keeps for devices, whatever their suffix.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


def obj_bytes(asset: Asset, name: str) -> bytes:
    """The OBJ itself; with a texture it refers to `companions`, which must lie beside it."""
    safe = safe_name(name)
    text = [f"# {line}" for line in comments(asset.facts)]
    if asset.textures is not None:
        places, corners = welded(asset.vertices, asset.faces)
        text += [f"mtllib {safe}.mtl", f"o {safe}"]
        text += ["v {:.9g} {:.9g} {:.9g}".format(*row) for row in places.tolist()]
    else:
        corners = asset.faces
        colors = [[]] * len(asset.vertices) if asset.colors is None else (asset.colors.float() / 255).tolist()
        text += [f"o {safe}"]
        text += [
            "v {:.9g} {:.9g} {:.9g}".format(*place) + "".join(f" {c:.6g}" for c in color)
            for place, color in zip(asset.vertices.tolist(), colors)
        ]
    if asset.uv is not None:
        text += ["vt {:.9g} {:.9g}".format(*row) for row in asset.uv.tolist()]
    text += ["vn {:.6g} {:.6g} {:.6g}".format(*row) for row in asset.normals.tolist()]
    if asset.textures is not None:
        text += [f"usemtl {safe}"]
    face = "f {0}//{1} {2}//{3} {4}//{5}" if asset.uv is None else "f {0}/{1}/{1} {2}/{3}/{3} {4}/{5}/{5}"
    pairs = torch.stack([corners, asset.faces], -1).reshape(-1, 6) + 1  # position, then all else, of each corner
    text += [face.format(*row) for row in pairs.tolist()]
    return ("\n".join(text) + "\n").encode()


def companions(asset: Asset, name: str) -> dict[str, bytes]:
    """The other files by their names: none without a texture, else the material library, the colours, the normals."""
    if asset.textures is None:
        return {}
    safe = safe_name(name)
    specular = 0.0 if not asset.lit else 0.04 + 0.96 * asset.metallic  # what a smooth surface reflects at least
    lines = [
        f"newmtl {safe}",
        "Ka 0 0 0",
        "Kd 1 1 1",
        f"Ks {specular:.6g} {specular:.6g} {specular:.6g}",
        f"Ns {1000 * (1 - asset.roughness) ** 2:.6g}",
        "d 1",
        f"illum {2 if asset.lit else 0}",
        f"Pr {asset.roughness:.6g}",
        f"Pm {asset.metallic:.6g}",
        f"map_Kd {safe}_color.png",
    ]
    files = {f"{safe}_color.png": png_bytes(asset.textures.color)}
    if asset.textures.normal is not None:
        lines += [f"norm {safe}_normal.png", f"map_Bump -bm 1 {safe}_normal.png"]
        files[f"{safe}_normal.png"] = png_bytes(asset.textures.normal)
    return {f"{safe}.mtl": ("\n".join(lines) + "\n").encode(), **files}


def safe_name(name: str) -> str:
    """A name without spaces and signs that some system or reader refuses; one that was changed gets a number of its own,
    so that two files in a folder never share their pictures.

    >>> safe_name("chair.v2"), safe_name("my chair")
    ('chair.v2', 'my_chair_33b14955')
    """
    safe = re.sub(r"[^\w.-]", "_", name).rstrip(".") or "asset"
    reserved = safe.split(".")[0].lower() in DEVICES
    return safe if safe == name and not reserved else f"{safe.replace('.', '_')}_{crc32(name.encode()):08x}"
