"""How near a set of generated pictures is to a set of real ones: no picture has a partner, so whole sets are compared.

Features are vectors, one a picture, of whatever network the caller trusts: say which, since figures from two networks do not
compare. All distances depend on the number of pictures too; `floor` says what two sets of real ones have.

Diversity between codes is asked for by itself (`diversity`): a generator that ignores its code may have a good distance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nerf3d.errors import InputError

CELLS = 2**22
"""Numbers in a table of pairs that is held at once."""
PAIRS = 100_000
"""Pairs of silhouettes; of larger sets that many are drawn."""


def frechet_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> float:
    """The squared Frechet distance between the Gaussians with the sets' moments: FID (Heusel et al. 2017, eq. 6)

        |mean_a - mean_b|^2 + Tr(A + B - 2 (A B)^(1/2)),    A, B: covariances, with n - 1 and m - 1

    In double precision, and neither covariance is formed: the centred features' QR gives A = R^T R and B = S^T S, and the
    square roots of A B's eigenvalues are the singular values of R S^T. Those are real for any rank (n < d as well).

    Raises InputError for fewer than two vectors, or such as are not finite.

    >>> a = torch.tensor([[-1.0], [1.0]])  # variance 2
    >>> round(frechet_distance(a, 3 * a + 5), 6)  # 5^2 + 2 + 18 - 2 sqrt(2 * 18)
    33.0
    """
    x, y = _checked(a, 2), _checked(b, 2)
    r, s = (torch.linalg.qr((f - f.mean(0)) / (len(f) - 1) ** 0.5, mode="r").R for f in (x, y))
    trace = r.square().sum() + s.square().sum() - 2 * torch.linalg.svdvals(r @ s.T).sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + trace.clamp_min(0))


def kernel_distance(
    a: Float[Tensor, "n d"],
    b: Float[Tensor, "m d"],
    rng: torch.Generator | None = None,
    subsets: int = 100,
    size: int = 1000,
) -> float:
    """KID (Binkowski et al. 2018, section 4): the squared maximum mean discrepancy with the kernel (x . y / d + 1)^3,

        mean_{i != j} k(a_i, a_j) + mean_{i != j} k(b_i, b_j) - 2 mean k(a_i, b_j)

    without bias whatever the number of pictures, hence now and then below 0. The mean over `subsets` times `size` vectors
    drawn from either set without repetition; where both sets have at most `size` they are taken whole, once, and no chance
    is involved. Without `rng` the draws are those of seed 0. Raises InputError as `frechet_distance` does.

    >>> kernel_distance(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [1.0]]))  # 1 + 8 - 2 (1 + 1 + 8 + 8) / 4
    0.0
    """
    if subsets < 1 or size < 2:
        raise InputError(f"The kernel distance got {subsets} subsets of {size}: give at least 1 of at least 2.")
    x, y, rng = _checked(a, 2), _checked(b, 2), _chance(rng)
    if max(len(x), len(y)) <= size:
        return _mmd(x, y)
    return sum(_mmd(_some(x, size, rng), _some(y, size, rng)) for _ in range(subsets)) / subsets


def inception_score(probabilities: Float[Tensor, "n classes"], splits: int = 1) -> float:
    """exp(mean KL(p(class | picture) || p(class))) (Salimans et al. 2016): 1 where all pictures look like the same classes,
    the number of classes where each looks like one and all are equally frequent.

    The mean over `splits` equal parts in the given order. Raises InputError for rows that are no probabilities.

    >>> round(inception_score(torch.eye(4)), 6)
    4.0
    """
    if not 1 <= splits <= len(probabilities):
        raise InputError(f"{len(probabilities)} pictures cannot be split in {splits}: give fewer splits, at least 1.")
    p = _checked(probabilities, 1)
    if bool((p < 0).any()) or bool(((p.sum(1) - 1).abs() > 1e-3).any()):
        raise InputError("The inception score needs probabilities that add up to 1 in each row: apply a softmax first.")
    parts = p.tensor_split(splits)
    kl = [(torch.xlogy(q, q) - torch.xlogy(q, q.mean(0))).sum(1).mean() for q in parts]
    return float(torch.stack(kl).exp().mean())


@dataclass(frozen=True)
class Overlap:
    """How two sets lie in each other. All are best at 1; `density` alone may exceed it.

    `precision` is the share of generated vectors among the real ones (quality), `recall` the share of real ones among the
    generated (variety). `density` counts how many real neighbourhoods hold a generated vector, so that one real outlier
    does not make all around it precise; `coverage` is the share of real neighbourhoods that hold any.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], k: int = 3) -> Overlap:
    """Precision and recall (Kynkaanniemi et al. 2019, eq. 1-3), density and coverage (Naeem et al. 2020, eq. 4, 5).

    A vector's neighbourhood is the ball, border included, that reaches to its k-th nearest other one of its own set; a set's
    manifold is the union of those. The papers take k = 3 and k = 5. Not more than about `CELLS` distances are held at once.
    Raises InputError for sets of at most k vectors.

    >>> real, fake = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.5], [1.5], [9.0]])
    >>> precision_recall(real, fake, k=1)  # of the real balls one holds both 0.5 and 1.5, two hold one of them
    Overlap(precision=0.6666666666666666, recall=1.0, density=1.3333333333333333, coverage=1.0)
    """
    if k < 1:
        raise InputError(f"A neighbourhood reaches to the k-th neighbour, and k is {k}: give at least 1.")
    x, y = _checked(real, k + 1), _checked(fake, k + 1)
    around_real, around_fake = _reach(x, k), _reach(y, k)
    precise, balls = 0, 0
    recalled, covered = (torch.zeros(len(x), dtype=torch.bool, device=x.device) for _ in range(2))
    rows = max(1, CELLS // len(x))
    for some, reach in zip(y.split(rows), around_fake.split(rows), strict=True):
        distance = _distances(some, x)
        inside = distance <= around_real
        precise += int(inside.any(1).sum())
        balls += int(inside.sum())
        covered |= inside.any(0)
        recalled |= (distance <= reach[:, None]).any(0)
    return Overlap(
        precision=precise / len(y),
        recall=float(recalled.double().mean()),
        density=balls / (k * len(y)),
        coverage=float(covered.double().mean()),
    )


def floor(
    features: Float[Tensor, "n d"],
    rng: torch.Generator | None = None,
    distance: Callable[[Tensor, Tensor], float] = frechet_distance,
) -> float:
    """The distance of real from real: between two halves of a set that chance parts (without `rng`: seed 0).

    Generated pictures are to be compared in the number of a half, n // 2. Raises InputError for fewer than four vectors.
    """
    x = _some(_checked(features, 4), len(features), _chance(rng))
    half = len(x) // 2
    return distance(x[:half], x[half : 2 * half])


@dataclass(frozen=True)
class Diversity:
    """How much pictures of different codes differ, over the same of real objects: 1 is right, 0 a generator that ignores
    its code. Chaos is diverse as well (an untrained network may have 1), so look at a distance too.
    """

    color: float
    silhouette: float


def diversity(
    pictures: Float[Tensor, "n h w 3"],
    masks: Bool[Tensor, "n h w"],
    real_pictures: Float[Tensor, "m p q 3"],
    real_masks: Bool[Tensor, "m p q"],
    rng: torch.Generator | None = None,
) -> Diversity:
    """`color_spread` and `silhouette_spread` of generated pictures, one a code, over those of real ones, one an object,
    both from the same cameras or the same distribution of them. Raises InputError where the real ones do not differ.
    """
    color, shape = color_spread(real_pictures, real_masks), silhouette_spread(real_masks, rng)
    if color == 0 or shape == 0:
        raise InputError("The real pictures do not differ in color or in silhouette: compare with more objects.")
    return Diversity(color_spread(pictures, masks) / color, silhouette_spread(masks, rng) / shape)


def color_spread(pictures: Float[Tensor, "n h w 3"], masks: Bool[Tensor, "n h w"]) -> float:
    """The standard deviation (with n - 1) over the set of the mean color inside of the mask: the root of the variances' sum
    over red, green and blue. Raises InputError for fewer than two pictures, or an empty mask.

    >>> black_and_white = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 4, 4, 3)
    >>> round(color_spread(black_and_white, torch.ones(2, 4, 4, dtype=torch.bool)) ** 2, 6)  # 3 variances of 1/2
    1.5
    """
    inside = masks.flatten(1).double()
    area = inside.sum(1, keepdim=True)
    if bool((area == 0).any()):
        empty = int((area == 0).flatten().nonzero()[0])
        raise InputError(f"Picture {empty} shows no object, its mask is empty: leave it out, and say how many were.")
    color = torch.where(masks.flatten(1)[..., None], pictures.flatten(1, 2).double(), 0.0)
    return float(_checked(color.sum(1) / area, 2).var(0).sum().sqrt())


def silhouette_spread(masks: Bool[Tensor, "n h w"], rng: torch.Generator | None = None, pairs: int = PAIRS) -> float:
    """The mean of 1 - intersection over union over all pairs of masks, 0 for a pair of empty ones; over `pairs` random ones
    where there are more (without `rng`: seed 0). Raises InputError for fewer than two masks.

    >>> silhouette_spread(torch.tensor([[[True, True, False]], [[False, True, True]]])) == 1 - 1 / 3
    True
    """
    count = len(masks)
    if count < 2 or pairs < 1:
        raise InputError(f"Silhouettes are compared in pairs: {count} of them in {pairs} pairs do not suffice.")
    if count * (count - 1) // 2 <= pairs:
        i, j = torch.triu_indices(count, count, 1)
    else:
        rng = _chance(rng)
        i = torch.randint(count, (pairs,), generator=rng, device=rng.device)
        j = (i + torch.randint(1, count, (pairs,), generator=rng, device=rng.device)) % count
    flat = masks.flatten(1)
    rows = max(1, CELLS // flat.shape[1])
    total = 0.0
    for some, others in zip(i.to(masks.device).split(rows), j.to(masks.device).split(rows), strict=True):
        a, b = flat[some], flat[others]
        both, either = (a & b).sum(1).double(), (a | b).sum(1).double()
        total += float(torch.where(either > 0, 1 - both / either.clamp_min(1), 0.0).sum())
    return total / len(i)


def linear_probe(
    codes: Float[Tensor, "n d"],
    values: Float[Tensor, "n v"],
    train_share: float = 0.8,
    rng: torch.Generator | None = None,
    strength: float = 1e-3,
) -> float:
    """Whether codes hold an attribute where a straight line finds it: R^2 of ridge regression (Hoerl and Kennard 1970) on
    codes that it has not seen. 1 is a perfect reading, 0 no better than to say the mean; below 0 worse than that.

    With every number z of a code standardised over the N codes for training,

        W = (Z^T Z / N + strength I)^-1  Z^T (y - mean) / N
        R^2 = 1 - sum (y - mean - W^T z)^2 / sum (y - held-out mean)^2

    in double precision, both sums over the held-out codes and all columns of `values`, in their units. Chance parts the
    codes (without `rng`: seed 0). Raises InputError where either part has fewer than two, or the held-out values are all
    the same.

    >>> code = torch.arange(20.0)[:, None]
    >>> round(linear_probe(code, 3 * code + 1), 4)
    1.0
    """
    if not strength > 0:
        raise InputError(f"The strength of the ridge is {strength}, and a positive number is needed.")
    count = len(codes)
    train = round(train_share * count)
    if min(train, count - train) < 2:
        raise InputError(
            f"A probe trains on {train} of {count} codes and is tested on the rest, and both need at least two: give more "
            "codes, or another share."
        )
    order = _some(torch.arange(count, device=codes.device), count, _chance(rng))
    x, y = _checked(codes, 4)[order], _checked(values, 4)[order]
    z, mean = x - x[:train].mean(0), y[:train].mean(0)
    deviation = z[:train].square().mean(0).sqrt()
    z = z / torch.where(deviation > 1e-9 * x[:train].abs().amax(0), deviation, torch.inf)  # a constant tells nothing
    square = z[:train].T @ z[:train] / train + strength * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    w = torch.linalg.solve(square, z[:train].T @ (y[:train] - mean) / train)
    truth = y[train:]
    around = (truth - truth.mean(0)).square().sum()
    if float(around) == 0:
        raise InputError("The attribute has one value in all codes that the probe is tested on: nothing could be read.")
    return float(1 - (truth - mean - z[train:] @ w).square().sum() / around)


def _checked(x: Tensor, least: int) -> Tensor:
    """In double precision; InputError for fewer rows than that, or numbers that are not finite."""
    if len(x) < least:
        raise InputError(f"The set has {len(x)} rows, one a picture, and at least {least} are needed: give more.")
    if not bool(x.isfinite().all()):
        bad = int((~x.isfinite().all(1)).nonzero()[0])
        raise InputError(f"Row {bad} of the set is not finite: look at that picture, or leave it out.")
    return x.detach().double()


def _chance(rng: torch.Generator | None) -> torch.Generator:
    return torch.Generator().manual_seed(0) if rng is None else rng


def _some(x: Tensor, most: int, rng: torch.Generator) -> Tensor:
    """At most that many rows, in random order, none twice."""
    return x[torch.randperm(len(x), generator=rng, device=rng.device)[:most].to(x.device)]


def _mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate of the squared maximum mean discrepancy (Binkowski et al. 2018, eq. 4)."""
    same = sum(
        (_kernel_sum(f, f) - float(_kernel(f.square().sum(1), f).sum())) / (len(f) * (len(f) - 1)) for f in (x, y)
    )
    return same - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def _kernel(dot: Tensor, x: Tensor) -> Tensor:
    """The cubic kernel from scalar products of vectors like x."""
    return (dot / x.shape[1] + 1) ** 3


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    """Over all pairs, a few rows at a time."""
    return sum(float(_kernel(some @ y.T, x).sum()) for some in x.split(max(1, CELLS // len(y))))


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """From differences, since a dot product's rounding would move equal vectors apart."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _reach(x: Tensor, k: int) -> Tensor:
    """The distance from each to its k-th nearest other one."""
    rows = max(1, CELLS // len(x))
    # Each is the nearest of itself, or as near as its copies.
    return torch.cat([_distances(some, x).kthvalue(k + 1, dim=1).values for some in x.split(rows)])
