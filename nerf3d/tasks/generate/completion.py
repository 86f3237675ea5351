"""What is given of an object stays as it is when the rest is drawn anew.

Tokens have their places, but no wall around them: what is drawn for one half bends the style of all layers, and with it the
other half. So the drawn vectors are moved, by as little as will do, until the field is what it was where it was given:

    min over v of  mean over x of |a c - a' c'|^2 + |a - a'|^2 + NEAR mean |(v - drawn) / s|^2, a = 1 - exp(-density THICK)

with x points in the given cells, a' and c' opacity and colour there before, and s how much the codebook's entries spread.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerf3d.core import Field
from nerf3d.models.vq_autoencoder import VQAutoencoder

POINTS, STEPS = 1024, 60
RATE, NEAR = 0.1, 3e-3
"""Adam's rate, in units of the entries' spread, and how much it counts to stay near to what was drawn."""
THICK = 0.1
"""World units of a density that are looked through."""


def settle(
    model: VQAutoencoder,
    before: Float[Tensor, "tokens d"],
    drawn: Float[Tensor, "tokens d"],
    keep: Bool[Tensor, "tokens"],
    rng: torch.Generator,
) -> Float[Tensor, "tokens d"]:
    """The latents `drawn`, which are those `before` where they are kept, moved in the other cells; all or none kept, as they
    are.
    """
    if bool(keep.all()) or not bool(keep.any()):
        return drawn
    x = points_in_cells(model, keep, rng)
    with torch.no_grad():
        aim = _seen(model.field(before), x)
    spread = model.codebook.entries.detach().std()
    off = torch.zeros_like(drawn[~keep], requires_grad=True)
    optimizer = torch.optim.Adam([off], lr=RATE)
    with torch.enable_grad():
        for _ in range(STEPS):
            loss = (_seen(model.field(_with(drawn, keep, spread * off)), x) - aim).square().sum(-1).mean()
            optimizer.zero_grad()
            (loss + NEAR * off.square().mean()).backward(inputs=[off])
            optimizer.step()
    return _with(drawn, keep, spread * off.detach())


def points_in_cells(
    model: VQAutoencoder, which: Bool[Tensor, "tokens"], rng: torch.Generator
) -> Float[Tensor, "points 3"]:
    """Random places in some of the cells (world)."""
    middles = model.decoder.region.space.to_unit(model.places[which])
    cells = middles.new_tensor(model.config.grid)
    pick = torch.randint(len(middles), (POINTS,), generator=rng, device=rng.device).to(middles.device)
    inside = torch.rand(POINTS, 3, generator=rng, device=rng.device).to(middles) - 0.5
    return model.decoder.region.space.from_unit(middles[pick] + inside / cells)


def _with(drawn: Tensor, keep: Tensor, off: Tensor) -> Tensor:
    moved = drawn.clone()
    moved[~keep] = drawn[~keep] + off
    return moved


def _seen(field: Field, x: Float[Tensor, "n 3"]) -> Float[Tensor, "n 4"]:
    """Colour times opacity, and opacity."""
    answer = field(x, torch.zeros_like(x))
    opacity = 1 - torch.exp(-answer.density[:, None] * THICK)
    return torch.cat([opacity * answer.color, opacity], -1)
