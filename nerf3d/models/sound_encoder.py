"""What is heard around a frame becomes a code of some numbers, on which a talking head depends.

AD-NeRF (Guo et al., 2021, section 3.2) and the released code: convolutions halve the 16 steps of a frame's window four
times, two fully connected layers make a code, and a learnt weighted mean over the codes of 8 frames steadies it:

    encode:  C -> 32 -> 32 -> 64 -> 64 (kernel 3, stride 2)  -> 64 -> k         LeakyReLU 0.02 between them
    smooth:  8 codes -> 16 -> 8 -> 4 -> 2 -> 1 (kernel 3, along the frames) -> 8 -> softmax = the weights of the mean

Nothing bounds the code: a tanh that saturates, or weight decay on these layers, can silence the sound while pictures stay
as good as before. (Train it without weight decay; RAD-NeRF lets `smooth` learn five times as quickly as the rest.)
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.fields.common import linear

STEPS = 16
"""Vectors in the window of a frame."""
BEFORE, AFTER = 4, 3
"""Frames before and after a frame, whose codes are averaged with its own."""
NEIGHBOURS = BEFORE + 1 + AFTER
SLOPE = 0.02
Layer = TypeVar("Layer", nn.Conv1d, nn.Linear)


def neighbours(windows: Float[Tensor, "film 16 c"], frames: Int64[Tensor, "n"]) -> Float[Tensor, "n neighbours 16 c"]:
    """The windows of the frames index - 4 ... index + 3 around each of some frames; silence (0) where there are none.

    >>> film = torch.arange(1.0, 4.0)[:, None, None].expand(3, 16, 1)  # a film of three frames: 1, 2, 3
    >>> neighbours(film, torch.tensor([0, 2]))[:, :, 0, 0]
    tensor([[0., 0., 0., 0., 1., 2., 3., 0.],
            [0., 0., 1., 2., 3., 0., 0., 0.]])
    """
    index = frames[:, None] + torch.arange(-BEFORE, AFTER + 1, device=frames.device)
    there = (index >= 0) & (index < len(windows))
    return torch.where(there[:, :, None, None], windows[index.clamp(0, len(windows) - 1)], 0.0)


class SoundEncoder(nn.Module):
    """Windows of `channels` numbers per step to codes of `code` numbers."""

    def __init__(self, channels: int, code: int, rng: torch.Generator) -> None:
        super().__init__()
        self.channels = channels
        self.convolutions = _convolutions([channels, 32, 32, 64, 64], 2, rng)
        self.connected = nn.ModuleList([_connected(64, 64, rng), _connected(64, code, rng)])
        self.smoothing = _convolutions([code, 16, 8, 4, 2, 1], 1, rng)
        self.weighing = linear(NEIGHBOURS, NEIGHBOURS, rng)
        with torch.no_grad():  # a bell one frame wide around the frame itself: a flat mean would blur the lips at first
            self.weighing.bias.copy_(-0.5 * (torch.arange(NEIGHBOURS) - BEFORE) ** 2)

    def forward(self, around: Float[Tensor, "n neighbours 16 c"]) -> Float[Tensor, "n code"]:
        """The codes of frames, given what `neighbours` found around each of them."""
        return self.smooth(self.encode(around.flatten(0, 1)).unflatten(0, (-1, NEIGHBOURS)))

    def encode(self, windows: Float[Tensor, "n 16 c"]) -> Float[Tensor, "n code"]:
        """Each window by itself. Raises InputError for windows of another shape than the encoder was made for."""
        if windows.shape[1:] != (STEPS, self.channels):
            raise InputError(
                f"the sound has windows of {windows.shape[1]} x {windows.shape[2]} numbers, but this model hears "
                f"{STEPS} x {self.channels}; give it the sound feature that it was trained with"
            )
        hidden = windows.transpose(1, 2)
        for convolution in self.convolutions:
            hidden = F.leaky_relu(convolution(hidden), SLOPE)
        first, last = self.connected
        return last(F.leaky_relu(first(hidden[:, :, 0]), SLOPE))

    def smooth(self, codes: Float[Tensor, "n neighbours code"]) -> Float[Tensor, "n code"]:
        """The mean over the neighbours, with the weights that `attention` gives them."""
        return (self.attention(codes)[:, None, :] @ codes)[:, 0]

    def attention(self, codes: Float[Tensor, "n neighbours code"]) -> Float[Tensor, "n neighbours"]:
        """How much each neighbour counts; the weights of a frame sum to 1."""
        hidden = codes.transpose(1, 2)
        for convolution in self.smoothing:
            hidden = F.leaky_relu(convolution(hidden), SLOPE)
        return torch.softmax(self.weighing(hidden[:, 0]), -1)

    def along(self, portions: Iterable[Float[Tensor, "_ 16 c"]]) -> Iterator[Float[Tensor, "_ code"]]:
        """The codes of a whole film, whose windows come in portions of any size; every window is encoded once.

        The same codes as `forward` gives, in order; the last three frames of a portion come with the next one.
        """
        held: Tensor | None = None  # codes from 4 frames before the next one to be given
        for portion in portions:
            if len(portion) == 0:
                continue
            if held is None:
                held = self._silence(portion, BEFORE)
            held = torch.cat([held, self.encode(portion)])
            if len(held) >= NEIGHBOURS:
                yield self._slide(held)
                held = held[len(held) - NEIGHBOURS + 1 :]
            last = portion
        if held is not None:
            yield self._slide(torch.cat([held, self._silence(last, AFTER)]))

    def _silence(self, like: Float[Tensor, "_ 16 c"], frames: int) -> Float[Tensor, "frames code"]:
        return self.encode(torch.zeros_like(like[:1])).expand(frames, -1)

    def _slide(self, codes: Float[Tensor, "_ code"]) -> Float[Tensor, "n code"]:
        return self.smooth(codes.unfold(0, NEIGHBOURS, 1).transpose(1, 2))


class MouthGuess(nn.Module):
    """How far a code says that the mouth is open, and how wide: a linear map, for an auxiliary loss.

    Compared with the measured mouth it gives the encoder a second, direct reason to listen. Nothing at render time.
    """

    def __init__(self, code: int, rng: torch.Generator) -> None:
        super().__init__()
        self.map = linear(code, 2, rng)

    def forward(self, code: Float[Tensor, "n code"]) -> Float[Tensor, "n 2"]:
        """Opening and width, in the units of what they are compared with."""
        return self.map(code)


def _convolutions(channels: list[int], stride: int, rng: torch.Generator) -> nn.ModuleList:
    """Kernels of 3 along the last axis, padded by 1, from each number of channels to the next."""
    make = nn.utils.skip_init
    shapes = zip(channels, channels[1:])
    return nn.ModuleList([_awake(make(nn.Conv1d, i, o, 3, stride=stride, padding=1), rng) for i, o in shapes])


def _connected(inputs: int, outputs: int, rng: torch.Generator) -> nn.Linear:
    return _awake(nn.utils.skip_init(nn.Linear, inputs, outputs), rng)


def _awake(layer: Layer, rng: torch.Generator) -> Layer:
    """He's weights, under which the loudness survives a stack of rectified layers, and no biases."""
    nn.init.kaiming_uniform_(layer.weight, SLOPE, generator=rng)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
