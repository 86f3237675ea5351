"""At which density is the surface? An answer that holds whatever the field's units.

Density is 1 / length: half of the light is gone after ln 2 / density. Two lengths bound what may be called a surface:

- **soft**: matter that needs more than 5 % of the box's longest side to swallow half of the light is fog, not a body.
  So the level is at least ln 2 / (0.05 side): 4.6 in a box of side 3, which is where the fixed thresholds of the
  field's common programs (5 to 12 in boxes of side 2 to 3) stand. A field without anything that dense gets a second
  chance at 20 %.
- **hard**: matter that swallows half of the light within one cell cannot be told from a sharp edge. So the level is at
  most ln 2 / cell.

Between the two the level is chosen by looking. From the six sides of the box, along every line of the survey's samples:

    seen = where half of the light is gone, fog left out          (lines that let more through do not count)
    hit  = the first sample that reaches the level
    cost = |hit - seen|, at most 4 samples; 16 where the level is reached neither on the line nor close beside it

A level that is too low puts a halo around things (hit before seen); one that is too high perforates noisy bodies (hit
behind seen) and loses the fainter ones (no hit). The highest of the best is taken, and half of it is the answer: a
margin against noise that moves the surface of an exponential edge exp(-k r) outwards by only ln 2 / k.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import max_pool2d

FOG = (0.05, 0.2)  # shares of the box's longest side
FAR = 4.0  # samples
LOST = 16.0  # samples
BESIDE = 2  # samples
TIE = 0.02  # samples, on average


def seen_at(density: Float[Tensor, "a b n"], width: float, fog: float) -> Float[Tensor, "a b"]:
    """The index along the last axis of the sample in which half of the light is gone; infinity where more gets through.

    Worked example: densities (0.5, 40, 400) at a width of 0.01 and fog 5: 0 + 0.4 + 4.0 passes ln 2 in sample 2.
    """
    gone = torch.where(density >= fog, density, 0.0).cumsum(-1) * width >= math.log(2)
    return torch.where(gone[..., -1], gone.byte().argmax(-1), torch.inf)


def cost(density: Float[Tensor, "a b n"], seen: Float[Tensor, "a b"], level: float) -> Float[Tensor, ""]:
    """How far a surface at that level is from what is seen along the last axis: a sum over all lines, in samples."""
    reached = density >= level
    any_reached = reached.any(-1)
    hit = reached.byte().argmax(-1).float()
    beside = max_pool2d(any_reached[None, None].float(), 2 * BESIDE + 1, stride=1, padding=BESIDE)[0, 0] > 0
    miss = torch.where(beside, FAR, LOST)
    each = torch.where(any_reached, (hit - seen).abs().clamp_max(FAR), miss)
    return each[seen.isfinite()].sum()


def automatic_level(density: Float[Tensor, "x y z"], width: Float[Tensor, "3"], cell: float) -> float | None:
    """The density of the surface; None where the box holds nothing that could be called one.

    `density` are samples over the whole box at steps of `width` (world units), `cell` is the side of the cells in which
    the surface will be looked for.
    """
    steps = [float(w) for w in width]
    side = max(step * count for step, count in zip(steps, density.shape))
    sides = [(d, step) for axis, step in enumerate(steps) for d in _both_ways(density.movedim(axis, -1))]
    for share in FOG:
        soft = math.log(2) / (share * side)
        seen = [seen_at(along, step, soft) for along, step in sides]
        lines = sum(int(line.isfinite().sum()) for line in seen)
        if lines == 0:
            continue
        top = 2 * max(math.log(2) / cell, soft)
        tries = [top * 2 ** (-0.5 * i) for i in range(1 + int(2 * math.log2(top / soft)))]
        costs = [sum(float(cost(d, line, level)) for (d, _), line in zip(sides, seen)) / lines for level in tries]
        best = next(level for level, found in zip(tries, costs) if found <= min(costs) + TIE)
        return max(best / 2, soft)
    return None


def _both_ways(density: Float[Tensor, "a b n"]) -> tuple[Tensor, Tensor]:
    return density.contiguous(), density.flip(-1)
