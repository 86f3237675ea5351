"""Figures on a terminal, each with what it means."""

from collections.abc import Sequence


def explained(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """A line for every name, number and meaning, in columns.

    >>> explained([("fps", "5.15", "frames a second"), ("offset_ms", "-16", "late by")])
    ['fps        5.15  frames a second', 'offset_ms   -16  late by']
    """
    names, numbers = (max(len(row[column]) for row in rows) for column in (0, 1))
    return [f"{name:<{names}}  {number:>{numbers}}  {meaning}" for name, number, meaning in rows]
