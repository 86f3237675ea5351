from pathlib import Path

import pytest
import torch

from nerf3d.errors import InputError
from nerf3d.guidance.text import CachedEncoder, Text, TextEncoder, join


class Counting:
    """Says how long each prompt is, and remembers what it was asked."""

    def __init__(self, identity: str = "counting", pooled: bool = True) -> None:
        self.identity, self.pooled = identity, pooled
        self.asked: list[str] = []

    def __call__(self, prompts: list[str]) -> Text:
        self.asked += prompts
        length = torch.tensor([[float(len(p))] for p in prompts])
        return Text(length[:, :, None].expand(-1, 3, 2), length if self.pooled else None)


@pytest.mark.parametrize("pooled", [True, False])
def test_each_prompt_is_encoded_once(tmp_path: Path, pooled: bool) -> None:
    inner = Counting(pooled=pooled)
    encode = CachedEncoder(inner, tmp_path / "a" / "b")
    assert isinstance(encode, TextEncoder)
    prompts = ["a cow", "", "ein Würfel 🐄 方块", "a cow"]
    first = encode(prompts)
    assert inner.asked == ["a cow", "", "ein Würfel 🐄 方块"]
    again = CachedEncoder(Counting(pooled=pooled), tmp_path / "a" / "b")(prompts)
    assert torch.equal(first.tokens, again.tokens)
    assert first.tokens[:, 0, 0].tolist() == [5.0, 0.0, 15.0, 5.0]
    assert (again.pooled is not None) == pooled
    fresh = Counting(pooled=pooled)
    CachedEncoder(fresh, tmp_path / "a" / "b")(["a cow", "a hen"])
    assert fresh.asked == ["a hen"]
    assert not [p for p in (tmp_path / "a" / "b").iterdir() if p.suffix != ".safetensors"]


def test_another_encoder_is_asked_itself(tmp_path: Path) -> None:
    CachedEncoder(Counting("one"), tmp_path)(["a cow"])
    other = Counting("other")
    CachedEncoder(other, tmp_path)(["a cow"])
    assert other.asked == ["a cow"]


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    CachedEncoder(Counting(), tmp_path)(["a cow"])
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damage in (whole[:20], b"", whole[:-3]):
        file.write_bytes(damage)
        again = Counting()
        assert CachedEncoder(again, tmp_path)(["a cow"]).tokens[0, 0, 0] == 5
        assert again.asked == ["a cow"]
        assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        CachedEncoder(Counting(), tmp_path / "file")(["a cow"])


def test_mixing_and_joining() -> None:
    a, b = Counting()(["a", "aa"]), Counting()(["bbbbb", "bbbbbb"])
    mixed = a.mix(b, torch.tensor([0.25, 1.0]))
    assert mixed.tokens[:, 0, 0].tolist() == [2.0, 6.0]
    assert mixed.pooled[:, 0].tolist() == [2.0, 6.0]
    assert join(a, b).pooled[:, 0].tolist() == [1, 2, 5, 6]
    assert len(join(a, b)[torch.tensor([3, 0])]) == 2
