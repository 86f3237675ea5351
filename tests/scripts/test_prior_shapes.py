"""What the prior's text encoder is taught beside pictures."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from nerf3d.guidance.libraries import prepare

prepare()

import prior_shapes  # noqa: E402
import prior_text  # noqa: E402
from prior_shapes import CHANNELS, SIDE, Lessons  # noqa: E402

from nerf3d.data.world.captions import COMPASS, HEIGHTS  # noqa: E402
from nerf3d.data.world.nouns import nouns  # noqa: E402

NAMES = [n.name for n in nouns()]


def test_a_duck_has_two_sides_and_a_front() -> None:
    """From the west it is the mirror image of what it is from the east, and from behind it is another picture."""
    maps = prior_shapes._around("duck")
    assert maps.shape == (len(COMPASS), len(HEIGHTS), CHANNELS, SIDE, SIDE)
    east, west, front, back = (maps[COMPASS.index(point), 1] for point in ("e", "w", "s", "n"))
    mirrored = west.flip(-1) * torch.tensor([-1.0, 1, 1, 1, 1])[:, None, None]
    assert float((east - mirrored).abs().mean()) < 0.01
    assert float((east - front).abs().mean()) > 0.05
    assert float((front - back).abs().mean()) > 0.03
    normal, there, accent = east[:3], east[3], east[4]
    assert float(normal[2, there == 1].max()) < 0.2  # towards the camera, whose z looks forward
    assert 0 < float(accent.sum()) < 0.2 * float(there.sum())  # the beak
    assert 0.02 < float(there.mean()) < 0.6


def test_a_caption_s_answer_is_its_own() -> None:
    """Every map bears its place in its numbers; what comes back belongs to the caption's words."""
    places = torch.arange(len(NAMES) * 16 * 5).float().reshape(len(NAMES), 16, 5)
    maps = places[..., None, None, None].expand(*places.shape, CHANNELS, 1, 1)
    weight = torch.tensor([1.0 if name == "cow" else 0.0 for name in NAMES])
    taught = Lessons(maps, torch.zeros(CHANNELS, 1, 1), weight, 2.0)
    captions, answers = taught.draw(20, torch.Generator().manual_seed(0))
    for caption, answer in zip(captions, answers, strict=True):
        words = caption.replace(",", "").split()
        assert "cow" in words
        place = places[NAMES.index("cow"), COMPASS.index(words[-2]), list(HEIGHTS).index(words[-1])]
        assert answer.tolist() == [float(place) / 2] * CHANNELS


def test_the_encoder_learns_what_it_is_asked() -> None:
    maps = torch.randn(len(NAMES), 16, 5, CHANNELS, 1, 1, generator=torch.Generator().manual_seed(0))
    weight = torch.tensor([1.0 if name in ("cow", "mug") else 0.0 for name in NAMES])
    taught = Lessons(maps, maps.mean((0, 1, 2)), weight, 1.0)
    tokenizer = prior_text.make_tokenizer()
    torch.manual_seed(0)
    encoder = prior_text.make_text_encoder(tokenizer)
    reader = torch.nn.Linear(encoder.config.hidden_size, CHANNELS)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *reader.parameters()], lr=2e-3)
    rng = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(60):
        loss = prior_shapes.asked(taught, encoder, reader, tokenizer, 64, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
