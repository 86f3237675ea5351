"""What a person sees while a command runs: bars with the time left, and plain lines where there is no terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nerf3d.ranks import leads

T = TypeVar("T")

console = Console(stderr=True, highlight=False, emoji=False)


def say(text: str) -> None:
    """One line for the person; of several processes that train together, one speaks."""
    if not leads():
        return
    console.print(text, markup=False, soft_wrap=True)


class Lines:
    """The bar of longer work on anything but a terminal: a line every ten seconds, and none for what is over sooner."""

    EVERY = 10.0

    def __init__(self, title: str) -> None:
        self._title = title
        self._begin = self._said = monotonic()
        self._before = 0

    def show(self, done: int, needed: int) -> None:
        now = monotonic()
        if now - self._said >= self.EVERY and self._before < done < needed:
            self._said = now
            left = (now - self._begin) * (needed - done) / (done - self._before)
            say(f"{self._title} {100 * done / needed:.0f} %, {left:.0f} s left")
        if self._before == 0:  # the first piece may have to compile: the others say how long it takes
            self._begin, self._before = now, done


def tracked(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Go through items with a bar."""
    if not console.is_terminal:
        lines = Lines(title)
        for done, item in enumerate(items, start=1):
            yield item
            lines.show(done, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        for item in items:
            yield item
            bar.advance(task)


@contextmanager
def bar_of_points(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for work whose size becomes known on the way: a function of what is done and what is needed so far."""
    if not console.is_terminal:
        yield Lines(title).show
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, needed: bar.update(task, completed=done, total=needed)


class TrainingBar:
    """The bar of a training run; on anything but a terminal a line every ten percent. Of several processes one shows it."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = bar.add_task("fit", total=1.0, state="") if bar is not None else None
        self._tenths = 0

    def show(self, progress: float, state: str) -> None:
        """`progress` in [0, 1], and the numbers of the moment in words."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=min(progress, 1.0), state=state)
        elif int(10 * progress + 1e-9) > self._tenths:
            self._tenths = int(10 * progress + 1e-9)
            if leads():
                print(f"{100 * min(progress, 1.0):3.0f} %  {state}", file=sys.stderr, flush=True)


@contextmanager
def training_bar() -> Iterator[TrainingBar]:
    if not console.is_terminal or not leads():
        yield TrainingBar(None)
        return
    columns = (BarColumn(24), TextColumn("{task.percentage:3.0f} %"), TextColumn("{task.fields[state]}"))
    with Progress(*columns, console=console) as bar:
        yield TrainingBar(bar)
