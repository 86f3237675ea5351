"""Which views are learnt from, and which are held out to measure with."""

from collections.abc import Collection, Sequence

EVERY = 8
"""LLFF's habit, which mip-NeRF 360, nerfacto and others follow: the pictures 0, 8, 16, ... are for testing."""
FEWEST = 3
"""Views that a field can be learnt from."""


def hold_out(names: Sequence[str], every: int = EVERY) -> tuple[list[int], list[int]]:
    """Indices of the views to train on and of those to test on: of the names in order, the first of every eight.

    None are held out where fewer than three would be left.

    >>> hold_out(["b", "a", "e", "d", "c", "f"], every=2)
    ([0, 3, 5], [1, 4, 2])
    >>> hold_out(["b", "a", "c"])
    ([1, 0, 2], [])
    """
    order = sorted(range(len(names)), key=lambda i: names[i])
    if len(order) - len(order[::every]) < FEWEST:
        return order, []
    return [i for k, i in enumerate(order) if k % every], order[::every]


def sizes(train: int, test: int) -> str:
    """What a person is told of a split by `hold_out`.

    >>> sizes(43, 7)
    '43 photographs for training, 7 for testing (every 8th of 50 is held out)'
    """
    if not test:
        return f"{train} photographs for training and none for testing, since they are so few"
    return f"{train} photographs for training, {test} for testing (every {EVERY}th of {train + test} is held out)"


def by_name(names: Sequence[str], train: Collection[str], test: Collection[str]) -> tuple[list[int], list[int]]:
    """Indices of the views that a data set itself lists for training and for testing, in the order of their names.

    A side that lists nothing gets what the other leaves; a view that both list is for testing only, and one that
    neither lists is not used.

    >>> by_name(["c", "a", "b"], train=[], test=["b"])
    ([1, 0], [2])
    """
    order = sorted(range(len(names)), key=lambda i: names[i])
    held = [i for i in order if (names[i] in test if test else names[i] not in train)]
    kept = [i for i in order if (names[i] in train if train else True) and i not in held]
    return kept, held
