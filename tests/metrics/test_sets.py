import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.metrics import sets
from nerf3d.metrics.sets import (
    Diversity,
    Overlap,
    color_spread,
    diversity,
    floor,
    frechet_distance,
    inception_score,
    kernel_distance,
    linear_probe,
    precision_recall,
    silhouette_spread,
)
from nerf3d.metrics.shape import iou


def chance(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cloud(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=chance(seed), dtype=torch.float64)


def mixed(count: int, width: int, seed: int) -> Tensor:
    """A cloud whose covariance is anything but diagonal."""
    return cloud(count, width, seed) @ cloud(width, width, seed + 100) + cloud(1, width, seed + 200)


def cross(mean: list[float], deviation: list[float]) -> Tensor:
    """Points whose mean and (diagonal) covariance are given to the last digit."""
    s = torch.tensor(deviation, dtype=torch.float64)
    count = 2 * len(s)
    arms = torch.diag(s) * math.sqrt((count - 1) / 2)
    return torch.cat([arms, -arms]) + torch.tensor(mean, dtype=torch.float64)


def test_frechet_distance_of_gaussians_with_diagonal_covariances_in_closed_form() -> None:
    mean, s, other_mean, t = [1.0, -2, 0.5], [0.5, 2, 1], [0.0, 1, 1], [1.5, 0, 3]
    expected = sum((m - o) ** 2 + (p - q) ** 2 for m, o, p, q in zip(mean, other_mean, s, t, strict=True))
    assert frechet_distance(cross(mean, s), cross(other_mean, t)) == pytest.approx(expected, rel=1e-12)


def slow_frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Heusel et al. 2017, equation 6, as it stands there."""
    p, q = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + np.trace(p + q - 2 * np.real(sqrtm(p @ q))))


def test_frechet_distance_equals_the_slow_reference() -> None:
    a, b = mixed(60, 5, 0), mixed(45, 5, 1)
    assert frechet_distance(a, b) == pytest.approx(slow_frechet(a.numpy(), b.numpy()), rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)


def test_frechet_distance_of_fewer_pictures_than_features() -> None:
    a, b = mixed(6, 40, 0), mixed(8, 40, 1)
    # The few directions that either set has, as coordinates: nothing is lost, and the reference has full rank there.
    basis = torch.linalg.qr(torch.cat([a, b]).T).Q
    found = frechet_distance(a, b)
    p, q = (np.cov((f @ basis).numpy(), rowvar=False) for f in (a, b))
    root = np.sqrt(np.clip(np.linalg.eigvals(p @ q).real, 0, None)).sum()
    gap = float((a.mean(0) - b.mean(0)).square().sum())
    assert found == pytest.approx(gap + np.trace(p) + np.trace(q) - 2 * root, rel=1e-5)
    moved = frechet_distance(a, a + 3)
    assert moved == pytest.approx(9 * 40, rel=1e-9)  # the same covariance of rank 5: only the means are left


def test_frechet_distance_of_a_set_from_itself_is_0() -> None:
    for a in (mixed(50, 6, 0), mixed(5, 30, 0), mixed(50, 6, 0).float(), torch.ones(4, 3)):
        scale = float(a.double().var(0).sum())
        assert 0 <= frechet_distance(a, a.flip(0)) <= 1e-12 * scale


def slow_kernel_distance(a: Tensor, b: Tensor) -> float:
    def k(x: Tensor, y: Tensor) -> float:
        return float(x @ y / len(x) + 1) ** 3

    def mean_of_others(s: Tensor) -> float:
        return float(np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]))

    return mean_of_others(a) + mean_of_others(b) - 2 * float(np.mean([k(x, y) for x in a for y in b]))


def test_kernel_distance_equals_the_double_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = cloud(9, 4, 0), cloud(7, 4, 1) + 0.5
    expected = slow_kernel_distance(a, b)
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-12)
    assert kernel_distance(a, b, chance(5), subsets=3, size=9) == kernel_distance(a, b)  # all of them: no chance
    monkeypatch.setattr(sets, "CELLS", 10)
    assert kernel_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_over_subsets_is_without_bias() -> None:
    a, b = cloud(60, 3, 0), cloud(40, 3, 1) + 0.4
    whole = kernel_distance(a, b)
    found = kernel_distance(a, b, chance(0), subsets=400, size=20)
    assert found == pytest.approx(whole, rel=0.1)
    assert found == kernel_distance(a, b, chance(0), subsets=400, size=20)
    assert found != kernel_distance(a, b, chance(1), subsets=400, size=20)
    same = [kernel_distance(cloud(20, 3, s), cloud(20, 3, s + 50)) for s in range(50)]
    assert min(same) < 0 < max(same)
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(len(same))


def test_inception_score_in_closed_form() -> None:
    assert inception_score(torch.full((6, 3), 1 / 3)) == pytest.approx(1)
    assert inception_score(torch.eye(5).repeat(2, 1)) == pytest.approx(5)
    assert inception_score(torch.eye(4), splits=2) == pytest.approx(2)
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    mean = [0.55, 0.45]
    kl = [sum(x * math.log(x / m) for x, m in zip(row, mean, strict=True)) for row in p.tolist()]
    assert inception_score(p) == pytest.approx(math.exp(sum(kl) / 2), rel=1e-6)


def slow_overlap(real: Tensor, fake: Tensor, k: int) -> Overlap:
    def reach(s: Tensor) -> list[float]:
        return [sorted(float((x - y).norm()) for j, y in enumerate(s) if j != i)[k - 1] for i, x in enumerate(s)]

    of_real, of_fake = reach(real), reach(fake)
    inside = [[float((x - y).norm()) <= r for x, r in zip(real, of_real, strict=True)] for y in fake]
    back = [[float((x - y).norm()) <= r for y, r in zip(fake, of_fake, strict=True)] for x in real]
    return Overlap(
        precision=float(np.mean([any(row) for row in inside])),
        recall=float(np.mean([any(row) for row in back])),
        density=float(np.sum(inside)) / (k * len(fake)),
        coverage=float(np.mean([any(column) for column in zip(*inside, strict=True)])),
    )


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_equal_the_slow_reference(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = cloud(23, 2, 0), 0.7 * cloud(17, 2, 1) + 0.8
    expected = slow_overlap(real, fake, k)
    assert 0 < expected.precision < 1
    assert 0 < expected.recall < 1
    assert precision_recall(real, fake, k) == expected
    monkeypatch.setattr(sets, "CELLS", 50)  # a few rows at a time
    assert precision_recall(real, fake, k) == expected


def test_precision_is_quality_and_recall_is_variety() -> None:
    real = cloud(200, 2, 0)
    collapsed = precision_recall(real, 0.02 * cloud(200, 2, 1))
    assert collapsed.precision == 1
    assert collapsed.recall < 0.05
    assert collapsed.coverage < 0.2
    scattered = precision_recall(real, 10 * cloud(200, 2, 1))
    assert scattered.precision < 0.1
    assert scattered.recall > 0.9
    assert precision_recall(real, real).precision == precision_recall(real, real).coverage == 1
    assert precision_recall(real, cloud(200, 2, 1) + 100) == Overlap(0.0, 0.0, 0.0, 0.0)
    copies = torch.ones(5, 2)
    assert precision_recall(copies, copies) == Overlap(1.0, 1.0, 5 / 3, 1.0)


def test_the_floor_is_far_below_the_distance_of_another_set() -> None:
    real = mixed(400, 4, 0)
    low = floor(real)
    assert 0 < low < 0.1 * frechet_distance(real[:200], mixed(200, 4, 1))
    assert low == floor(real)
    assert low != floor(real, chance(7))
    assert floor(real, chance(7), kernel_distance) < 0.1 * kernel_distance(real, real + 5)
    seen = []
    floor(torch.arange(9.0)[:, None], chance(0), lambda a, b: seen.append(torch.cat([a, b])) or 0.0)
    assert seen[0].shape == (8, 1)  # two halves of one size, without a common picture
    assert len(seen[0].unique()) == 8


def plain(colors: Tensor, masks: Tensor) -> Tensor:
    """Pictures of one color each inside of the mask, on a background that is none of the metric's business."""
    rng = chance(3)
    outside = torch.rand(*masks.shape, 3, generator=rng)
    return torch.where(masks[..., None], colors[:, None, None], outside)


def discs(radii: Tensor, side: int = 24) -> Tensor:
    line = torch.arange(side) + 0.5 - side / 2
    return (line[:, None] ** 2 + line**2).sqrt() < radii[:, None, None]


def test_color_spread_looks_inside_of_the_mask_only() -> None:
    colors = torch.rand(12, 3, generator=chance(0))
    masks = discs(torch.linspace(3, 9, 12))
    expected = math.sqrt(np.var(colors.double().numpy(), axis=0, ddof=1).sum())
    assert color_spread(plain(colors, masks), masks) == pytest.approx(expected, rel=1e-6)
    hole = plain(colors, masks)
    hole[~masks] = math.nan
    assert color_spread(hole, masks) == pytest.approx(expected, rel=1e-6)
    one = torch.full((12, 3), 0.3)
    assert color_spread(plain(one, masks), masks) == pytest.approx(0, abs=1e-7)


def test_silhouette_spread_is_the_mean_over_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = discs(torch.tensor([0.0, 0.0, 3, 5, 6, 8, 11]))  # the first two are empty
    every = [1 - iou(a, b) for a, b in combinations(masks, 2)]
    assert silhouette_spread(masks) == pytest.approx(np.mean(every), rel=1e-12)
    assert silhouette_spread(masks[2:3].expand(4, -1, -1)) == 0
    some = silhouette_spread(masks, chance(0), pairs=20)
    assert some == silhouette_spread(masks, chance(0), pairs=20) != silhouette_spread(masks, chance(1), pairs=20)
    apart = torch.eye(16, dtype=torch.bool).reshape(16, 4, 4)  # any two are disjoint, so 1 as long as none meets itself
    assert silhouette_spread(apart, pairs=100) == 1
    monkeypatch.setattr(sets, "CELLS", 3 * 24 * 24)
    assert silhouette_spread(masks) == pytest.approx(np.mean(every), rel=1e-12)
    many = masks.repeat(10, 1, 1)
    assert silhouette_spread(many, pairs=2000) == pytest.approx(silhouette_spread(many), abs=0.03)


def test_diversity_is_a_ratio_to_the_real() -> None:
    radii = torch.linspace(4, 10, 9)
    colors = torch.rand(9, 3, generator=chance(0))
    real = plain(colors, discs(radii)), discs(radii)
    assert diversity(*real, *real) == Diversity(1.0, 1.0)
    shy = colors.mean(0) + 0.5 * (colors - colors.mean(0))
    found = diversity(plain(shy, discs(radii)), discs(radii), *real)
    assert found.color == pytest.approx(0.5, rel=1e-5)
    assert found.silhouette == 1
    deaf = discs(torch.full((5,), 7.0))
    ignored = diversity(plain(colors[:1].expand(5, -1), deaf), deaf, *real)
    assert ignored.color == pytest.approx(0, abs=1e-6)
    assert ignored.silhouette == 0


def slow_probe(codes: np.ndarray, values: np.ndarray, train: int, strength: float) -> float:
    """Ridge regression as least squares with one more equation a weight."""
    z = (codes - codes[:train].mean(0)) / codes[:train].std(0)
    mean = values[:train].mean(0)
    more = math.sqrt(train * strength) * np.eye(z.shape[1])
    zeros = np.zeros((z.shape[1], values.shape[1]))
    w = np.linalg.lstsq(np.vstack([z[:train], more]), np.vstack([values[:train] - mean, zeros]), rcond=None)[0]
    truth, guess = values[train:], mean + z[train:] @ w
    return 1 - ((truth - guess) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum()


def test_linear_probe_equals_the_slow_reference() -> None:
    codes = mixed(50, 6, 0)
    values = codes[:, :2] @ cloud(2, 3, 5) + cloud(50, 3, 6)
    order = torch.randperm(50, generator=chance(4))
    expected = slow_probe(codes[order].numpy(), values[order].numpy(), 35, 0.5)
    assert 0 < expected < 1
    assert linear_probe(codes, values, 0.7, chance(4), strength=0.5) == pytest.approx(expected, rel=1e-9)
    constant = torch.cat([codes, torch.tensor([[0.1, 0.5, 0.0]]).expand(50, 3)], 1)
    assert linear_probe(constant, values, 0.7, chance(4), strength=0.5) == pytest.approx(expected, rel=1e-9)


def test_linear_probe_finds_what_is_there_and_nothing_else() -> None:
    codes = mixed(300, 16, 0).float()
    color = codes @ cloud(16, 3, 1).float() + 7
    assert linear_probe(codes, color) > 0.999
    assert linear_probe(codes, cloud(300, 3, 2).float()) < 0.1
    noisy = color + color.std() * cloud(300, 3, 3).float()  # about half of the variance
    assert 0.3 < linear_probe(codes, noisy) < 0.7
    wide = cloud(40, 100, 4)  # learnt by heart, and useless on the others
    assert linear_probe(wide, cloud(40, 1, 5)) < 0.3
    assert linear_probe(codes, color) == linear_probe(codes, color)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: frechet_distance(torch.zeros(1, 3), torch.zeros(4, 3)), "1 rows"),
        (lambda: frechet_distance(torch.zeros(4, 3), torch.tensor([[0.0, 1, 2], [0, math.nan, 2]])), "Row 1 .* finite"),
        (lambda: kernel_distance(torch.zeros(4, 3), torch.zeros(4, 3), size=1), "at least 2"),
        (lambda: inception_score(torch.ones(4, 3)), "softmax"),
        (lambda: inception_score(torch.eye(3), splits=4), "fewer splits"),
        (lambda: precision_recall(torch.zeros(3, 2), torch.zeros(9, 2), k=3), "at least 4"),
        (lambda: precision_recall(torch.zeros(3, 2), torch.zeros(9, 2), k=0), "k is 0"),
        (lambda: floor(torch.zeros(3, 2)), "at least 4"),
        (
            lambda: color_spread(torch.zeros(2, 4, 4, 3), torch.arange(2)[:, None, None].expand(2, 4, 4) == 0),
            "Picture 1",
        ),
        (lambda: color_spread(torch.zeros(1, 4, 4, 3), torch.ones(1, 4, 4, dtype=torch.bool)), "at least 2"),
        (lambda: silhouette_spread(torch.ones(1, 4, 4, dtype=torch.bool)), "do not suffice"),
        (lambda: diversity(*(torch.zeros(2, 4, 4, 3), torch.ones(2, 4, 4, dtype=torch.bool)) * 2), "do not differ"),
        (lambda: linear_probe(torch.zeros(9, 2), torch.zeros(9, 1), 1.0), "another share"),
        (lambda: linear_probe(torch.rand(9, 2), torch.zeros(9, 1)), "one value"),
        (lambda: linear_probe(torch.rand(9, 2), torch.rand(9, 1), strength=0.0), "positive"),
    ],
)
def test_what_cannot_be_measured_is_said(call, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        call()
