"""Kinds of objects, by their captions, as a model is told them."""

import torch
from jaxtyping import Float
from torch import Tensor

from nerf3d.data.collections.collection import Collection
from nerf3d.errors import InputError


def kinds_of(collection: Collection) -> tuple[str, ...]:
    """All captions of a collection, each once, in order."""
    return collection.kinds


def one_kind(kinds: tuple[str, ...], kind: str, count: int) -> Float[Tensor, "n kinds"]:
    """The same kind so many times, as one 1 among zeros. Raises InputError for one that is not among them.

    >>> one_kind(("a car", "a mug"), "a mug", 1)
    tensor([[0., 1.]])
    """
    if kind not in kinds:
        known = ", ".join(kinds[:20]) + (" ..." if len(kinds) > 20 else "")
        raise InputError(
            f"this model knows no {kind!r}; "
            + (f"choose of: {known}" if kinds else "it was told no kinds in training, so leave the kind away")
        )
    told = torch.zeros(count, len(kinds))
    told[:, kinds.index(kind)] = 1
    return told
