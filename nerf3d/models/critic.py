"""A critic: says how real a picture looks, and whether it looks real for its pose.

StyleGAN2's residual discriminator (Karras et al., 2020, figure 7c), with the standard deviation over a part of the batch as
one more channel near the end ("Progressive Growing of GANs", 2018, section 3: a generator that always makes the same picture
gives itself away) and conditions by projection (Miyato and Koyama, "cGANs with Projection Discriminator", 2018):

    block(x) = (conv(pool(conv(x))) + conv_1x1(pool(x))) / sqrt(2)
    score    = <features(picture), embedding(condition)> / sqrt(number of features)

`pool` takes the mean of 2 x 2 pixels, where StyleGAN2 blurs with [1, 3, 3, 1]; it comes before the second convolution, which
so costs a quarter. Scores are raw: positive is real.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.errors import InputError
from nerf3d.models.style import COARSEST, EPSILON, EqualizedLinear, MappingNetwork, activate, check_condition
from nerf3d.precision import in_single

Critique = Callable[[Tensor, Tensor | None], Tensor]
"""Pictures (b h w c) and their conditions (b n), or None, to scores (b)."""


@dataclass(frozen=True)
class CriticConfig:
    """The defaults judge plain pictures of 64 x 64."""

    channels: tuple[int, ...] = (512, 512, 512, 256, 128)
    """Of the features at 4 x 4, 8 x 8 and so on: as many as the pictures' resolution takes."""
    picture_channels: int = 3
    """3 for pictures; 6 for EG3D's dual discrimination, a picture and its raw rendering (see `dual`)."""
    condition: int = 0
    """Numbers in the condition (pose, class, caption, one behind the other), 0 for none."""
    mapping_layers: int = 2
    mapping_rate: float = 0.01
    group: int = 4
    """Over how many pictures of the batch the standard deviation is taken."""

    @property
    def resolution(self) -> int:
        """Rows and columns of a picture.

        >>> CriticConfig().resolution
        64
        """
        return COARSEST * 2 ** (len(self.channels) - 1)

    def build(self, rng: torch.Generator) -> "Critic":
        """Raises InputError for a network without layers or channels."""
        if not self.channels or min(*self.channels, self.picture_channels, self.group) < 1 or self.condition < 0:
            raise InputError(
                "a critic needs every number of channels and the group to be at least 1, and condition not to be negative"
            )
        return Critic(self, rng)


class EqualizedConvolution(nn.Module):
    """Weights of variance 1, divided by sqrt(inputs k^2) where they are used (see `style`), and a bias if asked for."""

    def __init__(self, inputs: int, outputs: int, kernel: int, rng: torch.Generator, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel, generator=rng))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        scale = 1 / math.sqrt(self.weight[0].numel())
        return F.conv2d(x, self.weight * scale, self.bias, padding=self.weight.shape[-1] // 2)


class CriticBlock(nn.Module):
    """From one resolution to half of it, with a residual connection."""

    def __init__(self, inputs: int, outputs: int, rng: torch.Generator) -> None:
        super().__init__()
        self.first = EqualizedConvolution(inputs, inputs, 3, rng)
        self.second = EqualizedConvolution(inputs, outputs, 3, rng)
        self.skip = EqualizedConvolution(inputs, outputs, 1, rng, bias=False)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h//2 w//2"]:
        y = activate(self.second(F.avg_pool2d(activate(self.first(x)), 2)))
        return (y + self.skip(F.avg_pool2d(x, 2))) / math.sqrt(2)


class Critic(nn.Module):
    """`critic(pictures, condition)` are scores."""

    def __init__(self, config: CriticConfig, rng: torch.Generator) -> None:
        super().__init__()
        self.config = config
        last = config.channels[0]
        down = config.channels[::-1]
        self.from_picture = EqualizedConvolution(config.picture_channels, down[0], 1, rng)
        self.blocks = nn.ModuleList([CriticBlock(i, o, rng) for i, o in zip(down, down[1:])])
        self.convolution = EqualizedConvolution(last + 1, last, 3, rng)
        self.hidden_layer = EqualizedLinear(last * COARSEST**2, last, rng)
        self.last_layer = EqualizedLinear(last, last if config.condition else 1, rng)
        self.embedding = (
            MappingNetwork(0, config.condition, last, config.mapping_layers, rng, config.mapping_rate)
            if config.condition
            else None
        )

    def forward(
        self, pictures: Float[Tensor, "b h w c"], condition: Float[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b"]:
        """Scores of pictures in [0, 1]. Raises InputError for pictures or conditions that it was not made for."""
        side = self.config.resolution
        if pictures.shape[1:] != (side, side, self.config.picture_channels):
            height, width, channels = pictures.shape[1:]
            raise InputError(
                f"the pictures are {height} x {width} with {channels} channels, but this critic judges {side} x {side} "
                f"with {self.config.picture_channels}; render or resize them to that"
            )
        check_condition(condition, self.config.condition)
        x = activate(self.from_picture(2 * pictures.permute(0, 3, 1, 2) - 1))
        for block in self.blocks:
            x = block(x)
        x = torch.cat([x, batch_deviation(x, self.config.group)], 1)
        x = activate(self.hidden_layer(activate(self.convolution(x)).flatten(1)))
        features = self.last_layer(x)
        if self.embedding is None or condition is None:
            return features[:, 0]
        embedded = self.embedding(condition.new_zeros(len(condition), 0), condition)
        return (features * embedded).sum(1) / math.sqrt(features.shape[1])


def batch_deviation(x: Float[Tensor, "b c h w"], group: int) -> Float[Tensor, "b 1 h w"]:
    """The standard deviation over each group of pictures, averaged over channels and places, as one more channel.

    A batch that cannot be divided into groups of this size is one group; a single picture has deviation 0 (1e-4, so that
    its gradient is finite). Pictures n, n + b / group, n + 2 b / group ... are a group.

    >>> x = torch.tensor([1.0, 10.0, 3.0, 50.0])[:, None, None, None]  # the groups are (1, 3) and (10, 50)
    >>> batch_deviation(x, 2).flatten()
    tensor([ 1., 20.,  1., 20.])
    """
    size = group if len(x) % group == 0 else max(len(x), 1)
    grouped = x.unflatten(0, (size, len(x) // size))
    deviation = (grouped.var(0, correction=0) + EPSILON).sqrt().mean((1, 2, 3))
    return deviation.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])


def dual(pictures: Float[Tensor, "b h w c"], raw: Float[Tensor, "b hh ww c"]) -> Float[Tensor, "b h w 2*c"]:
    """Upsampled pictures and the raw renderings they were made from, resized to them (EG3D, section 3.3).

    A critic that sees both notices an upsampler that paints what the field does not hold.
    """
    resized = F.interpolate(
        raw.permute(0, 3, 1, 2), size=pictures.shape[1:3], mode="bilinear", align_corners=False, antialias=True
    )
    return torch.cat([pictures, resized.permute(0, 2, 3, 1)], -1)


def r1_penalty(
    critic: Critique, pictures: Float[Tensor, "b h w c"], condition: Float[Tensor, "b n"] | None = None
) -> Float[Tensor, ""]:
    """The mean over real pictures of |d score / d picture|^2 (Mescheder et al., "Which Training Methods for GANs do actually
    Converge?", 2018, equation 9, without its gamma / 2); its gradient reaches the critic's parameters.

    Published gammas are for pictures in [-1, 1]. In [0, 1] slopes are twice as steep: a quarter of gamma does the same.

    >>> r1_penalty(lambda pictures, condition: 3 * pictures.sum((1, 2, 3)), torch.zeros(5, 2, 2, 1))
    tensor(36.)
    """
    pictures = pictures.detach().requires_grad_()
    with in_single(pictures.device):  # squares of slopes soon are too large for half precision
        (gradient,) = torch.autograd.grad(critic(pictures, condition).sum(), pictures, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()
