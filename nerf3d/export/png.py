"""Pictures as the bytes of PNG files."""

from io import BytesIO

from jaxtyping import UInt8
from torch import Tensor


def png_bytes(picture: UInt8[Tensor, "h w 3"]) -> bytes:
    """A PNG file of 8-bit RGB, compressed as far as it goes, without a colour profile: formats say themselves what it is."""
    from PIL import Image

    file = BytesIO()
    Image.fromarray(picture.cpu().numpy()).save(file, "PNG", optimize=True)
    return file.getvalue()
