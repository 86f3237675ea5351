"""Kinds of objects, by their captions, as a model is told them."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.data.collections.collection import Collection
from nerf3d.errors import InputError


def kind_numbers(collection: Collection) -> Int64[Tensor, "scenes"]:
    """Which of the collection's kinds each object is; the number after the last where nobody said."""
    kinds = collection.kinds
    return torch.tensor([kinds.index(caption) if caption else len(kinds) for caption in collection.captions])


def told(numbers: Int64[Tensor, "n"], kinds: tuple[str, ...]) -> Float[Tensor, "n kinds"] | None:
    """Kinds by their numbers, each as one 1 among zeros; NaN for the number after the last. None where there are no kinds.

    >>> told(torch.tensor([1, 2]), ("a car", "a mug"))
    tensor([[0., 1.],
            [nan, nan]])
    """
    if not kinds:
        return None
    rows = torch.eye(1 + len(kinds), device=numbers.device)[numbers, :-1]
    return torch.where((numbers < len(kinds))[:, None], rows, torch.nan)


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
    rows = torch.zeros(count, len(kinds))
    rows[:, kinds.index(kind)] = 1
    return rows
