"""What a file says about itself, where the format has room for single lines of text only."""

import re
from collections.abc import Mapping


def comments(facts: Mapping[str, str]) -> list[str]:
    r"""One line of printable ASCII for each fact, so that nothing in it can be read as a part of the file.

    >>> comments({"made by": "nerf3d\nv 0 0 0"})
    ['made by: nerf3d v 0 0 0']
    """
    return [re.sub(r"[^\x20-\x7e]", " ", f"{name}: {text}") for name, text in facts.items()]
