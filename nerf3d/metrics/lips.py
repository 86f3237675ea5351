"""Whether the mouth follows the sound: series of how far it is open, one number a frame, the film's against the true one.

Openings are in any unit, as long as both have the same; NaN where no face was found, and such frames are left out. None is
the answer to a question that the series cannot answer.
"""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from nerf3d.errors import InputError


def correlation(a: Float[Tensor, "n"], b: Float[Tensor, "n"]) -> float:
    """Pearson's r, -1 to 1, over the frames where both are known; its scale and level do not matter.

    0 where either is constant there, or fewer than two frames are left: a mouth that does not move follows nothing.

    >>> correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 20.0, 10.0]))
    0.0
    >>> round(correlation(torch.tensor([0.0, 1.0, float("nan"), 2.0]), torch.tensor([1.0, 3.0, 9.0, 5.0])), 6)
    1.0
    """
    x, y = _known(a, b)
    if len(x) < 2 or _constant(x) or _constant(y):
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    return float(((x / x.norm()) @ (y / y.norm())).clamp(-1, 1))


def spread(a: Float[Tensor, "n"], b: Float[Tensor, "n"]) -> float | None:
    """The standard deviation of a over that of b, over the frames where both are known.

    1 is right, 0 a mouth that does not move; a mouth that only trembles may well reach 1, so look at `correlation` too.
    None where b is constant, or no frame is left.

    >>> spread(torch.tensor([0.0, 1.0, 0.0]), torch.tensor([5.0, 9.0, 5.0]))
    0.25
    """
    x, y = _known(a, b)
    if len(x) == 0 or _constant(y):
        return None
    return float(x.std(correction=0) / y.std(correction=0))


def sound_offset(
    film_opening: Float[Tensor, "n"], true_opening: Float[Tensor, "n"], fps: float, most: int = 10
) -> float | None:
    """How late the film's mouth is, in ms: the lag at which it correlates best with the true one; negative: too early.

    For every lag k from -`most` to `most` frames

        r(k) = correlation of film(t + k) and true(t),    t = most .. n - 1 - most

    so that all lags are judged by the same frames of the truth, and each by as many. The parabola through the best r and
    its two neighbours gives the fraction of a frame. Of equal r the least lag is taken.

    None where there is no answer: no lag has a positive r (a constant mouth); the best is -`most` or `most`, so that a
    better one may lie beyond; or the film has fewer than 4 `most` frames, and less than half of it would be looked at.

    >>> true = torch.sin(torch.arange(100) ** 2 / 300)
    >>> round(sound_offset(true.roll(3), true, 25.0))  # 3 frames of 40 ms
    120
    """
    if most < 1:
        raise InputError(f"The lag of the sound is sought up to {most} frames; at least 1 is needed.")
    frames = len(true_opening)
    if frames < 4 * most:
        return None
    middle = true_opening[most : frames - most]
    lags = range(-most, most + 1)
    r = [correlation(film_opening[most + k : frames - most + k], middle) for k in lags]
    best = max(range(len(lags)), key=lambda i: (r[i], -abs(lags[i])))
    if r[best] <= 0 or best in (0, len(lags) - 1):
        return None
    before, top, after = r[best - 1 : best + 2]
    bend = before - 2 * top + after
    fraction = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return (lags[best] + fraction) * 1000 / fps


def ridge_baseline(
    train_windows: Float[Tensor, "n steps channels"],
    train_opening: Float[Tensor, "n"],
    test_windows: Float[Tensor, "m steps channels"],
    strength: float = 1.0,
) -> Float[Tensor, "m"]:
    """The opening that ridge regression (Hoerl and Kennard, 1970) hears in the sound: what a trained mouth has to beat.

    With every number z of a window standardised by its mean and deviation over the training frames,

        opening = mean + w . z,    w = argmin  1/n sum (y - mean - w . z)^2 + strength |w|^2
                                     = (Z^T Z / n + strength I)^-1  Z^T (y - mean) / n

    in double precision. `strength` counts against deviations of 1, whatever the number of frames; on a real speaker's
    log-mel r was within 0.02 of its best from 0.3 to 10. Numbers that never change in training are not listened to.

    Raises InputError for a strength that is not positive, or fewer than two known openings.
    """
    if not strength > 0:
        raise InputError(f"The strength of the ridge is {strength}, and a positive number is needed.")
    known = train_opening.isfinite()
    if int(known.sum()) < 2:
        raise InputError("A mouth is found in fewer than two training frames, so nothing can be learnt from the sound.")
    x, y = train_windows[known].flatten(1).double(), train_opening[known].double()
    changes = x.amax(0) > x.amin(0)
    x, asked = x[:, changes], test_windows.flatten(1).double()[:, changes]
    mean = x.mean(0)
    deviation = (x - mean).square().mean(0).sqrt()
    z = (x - mean) / deviation
    square = z.T @ z / len(z) + strength * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    w = torch.linalg.solve(square, z.T @ (y - y.mean()) / len(z))
    return (y.mean() + ((asked - mean) / deviation) @ w).to(train_opening.dtype)


def shuffled(sound: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "n ..."]:
    """The control: what is heard, or the numbers of its rows, rolled by half its length, so that nothing fits any more.

    A mouth that is driven by the sound loses its correlation with the truth; one that never listened keeps it. Raises
    InputError for fewer than two frames.

    >>> shuffled(torch.arange(5))
    tensor([3, 4, 0, 1, 2])
    """
    if len(sound) < 2:
        raise InputError("The control needs the sound of at least two frames, to exchange them.")
    return sound.roll(len(sound) // 2, 0)


def _known(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    both = a.isfinite() & b.isfinite()
    return a[both].double(), b[both].double()


def _constant(x: Tensor) -> bool:
    """To the bit: a mean in finite precision leaves a little of a constant."""
    return bool(x.amax() == x.amin())
