"""Several runs of one prompt, of which the best is kept: best by the evaluator, which had no part in making them."""

from collections.abc import Callable
from pathlib import Path

from nerf3d.commands.judge import Judgement
from nerf3d.commands.outcome import Outcome
from nerf3d.console import say
from nerf3d.errors import InputError

MOST = 64


def best_of(count: int, target: Path, seed: int, attempt: Callable[[Path, int], Outcome]) -> Outcome:
    """Make `count` candidates beside `target` with seeds from `seed` on, and give the best one the name of `target`.

    `attempt` makes a run in a folder with a seed.
    """
    if not 1 <= count <= MOST:
        raise InputError(f"{count} candidates cannot be made; give a number from 1 to {MOST}")
    outcomes = []
    for i in range(count):
        say(f"candidate {i + 1} of {count}")
        outcomes.append(attempt(unused(target, "candidate"), seed + i))
    best = min(outcomes, key=_place)
    say(f"the best candidate is {best.run.folder.name}, which is now {target}")
    return best.moved(target)


def unused(target: Path, what: str) -> Path:
    """A folder beside the target that does not exist yet: target-what1, target-what2 ..."""
    for i in range(1, 10_000):
        folder = target.with_name(f"{target.name}-{what}{i}")
        if not folder.exists():
            return folder
    raise InputError(f"there are 10,000 folders {target}-{what}N; delete some, or choose another --out")


def _place(outcome: Outcome) -> tuple[float, ...]:
    """Smaller is better: failures last, then by the colours' place among all captions, the clay's, and the lead."""
    if outcome.asset is None or outcome.judgement is None:
        return (1.0, 0.0, 0.0, 0.0)
    j: Judgement = outcome.judgement
    return (0.0, float(j.rank_color or 0), float(j.rank_textureless or 0), -(j.margin or 0.0))
