import math

import pytest
import torch
from torch import Tensor

from nerf3d.errors import InputError
from nerf3d.metrics.clip import Evaluator
from nerf3d.metrics.retrieval import Retrieval, r_precision, rank, retrieve

CAPTIONS = ["a red cube", "a green cube", "a blue cube"]


class Painter:
    """Stands in for a model: a picture is its mean colour, a text the colour that it names; "front" is bright."""

    def __init__(self) -> None:
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.read = 0

    def parameters(self):
        return iter([self.weight])

    def encode_image(self, x: Tensor, normalize: bool) -> Tensor:
        assert x.shape[-2:] == (8, 8)
        return torch.nn.functional.normalize(x.mean((-2, -1)), dim=-1)

    def encode_text(self, tokens: Tensor, normalize: bool) -> Tensor:
        self.read += len(tokens)
        return torch.nn.functional.normalize(tokens.float(), dim=-1)


def tokens(texts: list[str]) -> Tensor:
    colors = ("red", "green", "blue")
    sides = ("front", "side", "back")
    return torch.tensor([[float(c in t or s in t) for c, s in zip(colors, sides, strict=True)] for t in texts])


@pytest.fixture
def evaluator() -> Evaluator:
    return Evaluator(Painter(), tokens, 8, torch.zeros(3), torch.ones(3))


def pictures(*colors: tuple[float, float, float]) -> Tensor:
    return torch.tensor(colors)[:, None, None, :].expand(-1, 20, 20, 3)


def test_rank_counts_what_fits_as_well_or_better() -> None:
    similarity = torch.tensor([0.1, 0.7, 0.4, 0.4])
    assert [rank(similarity, i) for i in range(4)] == [4, 1, 3, 3]
    assert rank(torch.tensor([math.nan, 0.1, 0.2]), 0) == 3
    assert rank(torch.full((5,), 0.3), 2) == 5  # a judge who says the same of everything is never right


def test_retrieval_is_decided_by_the_mean_over_views(evaluator: Evaluator) -> None:
    views = pictures((1.0, 0.1, 0.0), (0.4, 0.5, 0.0), (0.9, 0.0, 0.2), (0.0, 0.0, 1.0))
    found = retrieve(evaluator, views, "a red cube", CAPTIONS)
    assert (found.rank, found.right_views, found.found) == (1, 0.5, "a red cube")
    mean = evaluator.similarity(views, CAPTIONS).mean(0)
    best, second = mean.sort(descending=True).values[:2].tolist()
    assert found.margin == pytest.approx(best - second)
    assert retrieve(evaluator, views, "a green cube", CAPTIONS).margin < 0 < found.margin
    assert retrieve(evaluator, views, "a green cube", CAPTIONS).rank == 3
    assert retrieve(evaluator, views, "something red and odd", CAPTIONS[1:]).rank == 1  # joins the list


def test_texts_are_read_once(evaluator: Evaluator) -> None:
    for _ in range(3):
        evaluator.similarity(pictures((1.0, 0.0, 0.0)), CAPTIONS)
    assert evaluator.model.read == 3
    with pytest.raises(InputError, match="no text"):
        evaluator.similarity(pictures((1.0, 0.0, 0.0)), [])


def test_r_precision_is_the_share_of_first_places() -> None:
    assert r_precision([Retrieval(r, 0.0, "", 0.0) for r in (1, 2, 1, 1500)]) == 0.5
    with pytest.raises(InputError, match="none"):
        r_precision([])
