"""Style: a code bends every layer of a network that makes pictures, or planes, out of a learnt constant.

Karras et al., "A Style-Based Generator Architecture for Generative Adversarial Networks" (StyleGAN, 2019) for the mapping
network and truncation, "Analyzing and Improving the Image Quality of StyleGAN" (StyleGAN2, 2020) for all else:

    w = mapping(z)                      z of unit mean square, fully connected layers
    s = A w + 1                         the style of a layer: a factor for each of its input channels
    w'_ijk  = s_i w_ijk                                     (equation 1, modulation; i input, j output, k place)
    w''_ijk = w'_ijk / sqrt(sum_ik w'_ijk^2 + eps)          (equation 3, demodulation)

Weights are stored with unit variance and scaled where they are used ("equalized learning rate": Karras et al., "Progressive
Growing of GANs", 2018, section 4.1), so that one step of Adam changes all layers by the same share.

Upsampling is bilinear, before the convolution. Away from the border that is StyleGAN2's own: zeros between the pixels and
the filter [1, 3, 3, 1], and since both are convolutions it does not matter which comes first.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nerf3d.errors import InputError

SLOPE = 0.2
EPSILON = 1e-8
COARSEST = 4
"""Rows and columns of the learnt constant."""


def activate(x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """Leaky ReLU times sqrt(2), which about keeps the mean square of numbers that are as often negative as positive.

    >>> activate(torch.tensor([-1.0, 1.0]))
    tensor([-0.2828,  1.4142])
    """
    return F.leaky_relu(x, SLOPE) * math.sqrt(2)


def unit_mean_square(x: Float[Tensor, "b c"]) -> Float[Tensor, "b c"]:
    """Each row divided by the root of its mean square.

    >>> unit_mean_square(torch.tensor([[1.0, 7.0]]))
    tensor([[0.2000, 1.4000]])
    """
    return x * (x.square().mean(-1, keepdim=True) + EPSILON).rsqrt()


class EqualizedLinear(nn.Module):
    """x W^T + b with W = rate / sqrt(inputs) times the stored weights, which are drawn with variance 1 / rate^2.

    Whatever `rate`, the layer starts as the same random map; Adam, whose steps do not depend on the gradient's length,
    changes W and b `rate` times as fast.
    """

    def __init__(self, inputs: int, outputs: int, rng: torch.Generator, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.rate = rate
        self.weight = nn.Parameter(torch.randn(outputs, inputs, generator=rng) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))

    def forward(self, x: Float[Tensor, "*b i"]) -> Float[Tensor, "*b o"]:
        return F.linear(x, self.weight * (self.rate / math.sqrt(self.weight.shape[1])), self.bias * self.rate)


class MappingNetwork(nn.Module):
    """Random codes z, and conditions where there are any, to the codes w that styles are made of.

    A condition (a pose, a class, a caption's embedding, or several one behind the other) is embedded, and stands beside z.
    """

    mean: Tensor

    def __init__(self, z: int, condition: int, w: int, layers: int, rng: torch.Generator, rate: float = 0.01) -> None:
        """`condition` numbers, 0 for none; so many `layers`, which learn at `rate` times the speed of the others."""
        super().__init__()
        self.z, self.condition = z, condition
        self.embedding = EqualizedLinear(condition, w, rng) if condition else None
        widths = [z + (w if condition else 0)] + [w] * layers
        self.layers = nn.ModuleList([EqualizedLinear(i, o, rng, rate) for i, o in zip(widths, widths[1:])])
        self.register_buffer("mean", torch.zeros(w))

    def forward(self, z: Float[Tensor, "b z"], condition: Float[Tensor, "b c"] | None = None) -> Float[Tensor, "b w"]:
        """Raises InputError for codes or conditions of another width than the network was made for."""
        if z.shape[1] != self.z:
            raise InputError(f"the codes hold {z.shape[1]} numbers, but this model takes {self.z}; draw them anew")
        check_condition(condition, self.condition)
        hidden = unit_mean_square(z)
        if self.embedding is not None and condition is not None:
            hidden = torch.cat([hidden, unit_mean_square(self.embedding(condition))], 1)
        for layer in self.layers:
            hidden = activate(layer(hidden))
        return hidden

    @torch.no_grad()
    def track(self, w: Float[Tensor, "b w"], keep: float = 0.998) -> None:
        """Let the running mean follow some codes: mean = keep mean + (1 - keep) mean of these."""
        self.mean.lerp_(w.mean(0).to(self.mean), 1 - keep)

    def truncate(self, w: Float[Tensor, "*b w"], psi: float) -> Float[Tensor, "*b w"]:
        """mean + psi (w - mean): with psi below 1 more usual and fewer different scenes (StyleGAN, appendix B)."""
        return self.mean + psi * (w - self.mean)


def check_condition(condition: Tensor | None, width: int) -> None:
    """Raises InputError unless a condition of this width is there, or none where the width is 0."""
    given = 0 if condition is None else condition.shape[-1]
    if given != width:
        raise InputError(
            f"the condition holds {given} numbers, but this model depends on {width}; give the pose, class or caption "
            "that it was trained with, and nothing to a model without"
        )


def modulated_convolution(
    x: Float[Tensor, "b i h w"],
    weight: Float[Tensor, "o i k k"],
    style: Float[Tensor, "b i"],
    demodulate: bool = True,
) -> Float[Tensor, "b o h w"]:
    """A convolution whose weights are w' of the style, or w'' where it demodulates (StyleGAN2, equations 1 and 3).

    Inputs and outputs are scaled in the place of the weights: sum_i w_ij (s_i x_i) d_j, d_j = 1 / sqrt(sum w'_ij^2 + eps).
    The numbers are the same, and a batch stays one convolution with one set of weights.

    >>> x, weight, style = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 3.0), torch.tensor([[5.0]])
    >>> modulated_convolution(x, weight, style, demodulate=False).item(), modulated_convolution(x, weight, style).item()
    (30.0, 2.0)
    """
    y = F.conv2d(x * style[:, :, None, None], weight, padding=weight.shape[-1] // 2)
    if not demodulate:
        return y
    squares = style.square() @ weight.square().sum((2, 3)).t()
    return y * (squares + EPSILON).rsqrt()[:, :, None, None]


def upsample(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
    """Twice as many rows and columns, bilinearly: 3/4 of the nearest and 1/4 of the next; the border goes on outside.

    >>> upsample(torch.tensor([[[[0.0, 4.0]]]]))[0, 0, 0]
    tensor([0., 1., 3., 4.])
    """
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class StyledConvolution(nn.Module):
    """Twice the size where it is an `up`, 3 x 3, demodulated, noise, bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, w: int, up: bool, noise: bool, rng: torch.Generator) -> None:
        super().__init__()
        self.up = up
        self.style = EqualizedLinear(w, inputs, rng, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3, generator=rng))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise = nn.Parameter(torch.zeros(())) if noise else None

    def forward(
        self, x: Float[Tensor, "b i h w"], w: Float[Tensor, "b d"], rng: torch.Generator | None
    ) -> Float[Tensor, "b o hh ww"]:
        """With `rng` one number per pixel, the same in all channels, times a learnt strength; without it none."""
        scale = 1 / math.sqrt(self.weight[0].numel())
        y = modulated_convolution(upsample(x) if self.up else x, self.weight * scale, self.style(w))
        if self.noise is not None and rng is not None:
            pixels = torch.randn(len(y), 1, *y.shape[2:], generator=rng, device=rng.device)
            y = y + self.noise * pixels.to(y)
        return activate(y + self.bias[:, None, None])


class ToPicture(nn.Module):
    """1 x 1, modulated but neither demodulated nor rectified: what one resolution adds to the picture."""

    def __init__(self, inputs: int, outputs: int, w: int, rng: torch.Generator) -> None:
        super().__init__()
        self.style = EqualizedLinear(w, inputs, rng, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1, generator=rng))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Float[Tensor, "b i h w"], w: Float[Tensor, "b d"]) -> Float[Tensor, "b o h w"]:
        weight = self.weight / math.sqrt(self.weight.shape[1])
        return modulated_convolution(x, weight, self.style(w), demodulate=False) + self.bias[:, None, None]


class Synthesis(nn.Module):
    """StyleGAN2's backbone with skip connections (figure 7b): every resolution adds its part to the upsampled coarser one.

    A resolution has two convolutions, the first of which doubles the size (at 4 x 4 there is one), and `ToPicture`, which
    shares its w with the convolution after it: 2 codes per resolution, `layers` in all.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        outputs: int,
        w: int,
        noise: bool,
        rng: torch.Generator,
        from_code: bool = False,
    ) -> None:
        """`channels` of the features at 4 x 4, 8 x 8 and so on; `outputs` of what comes out, at the last of them.

        The coarsest features are a learnt constant, as the paper's, or made `from_code` by one layer: then what differs
        from object to object in place, not only in kind, need not be brought about by factors alone.
        """
        super().__init__()
        self.layers = 2 * len(channels)
        coarsest = (channels[0], COARSEST, COARSEST)
        self.constant = None if from_code else nn.Parameter(torch.randn(coarsest, generator=rng))
        self.start = EqualizedLinear(w, math.prod(coarsest), rng) if from_code else None
        convolutions = [StyledConvolution(channels[0], channels[0], w, False, noise, rng)]
        for i, o in zip(channels, channels[1:]):
            convolutions.append(StyledConvolution(i, o, w, True, noise, rng))
            convolutions.append(StyledConvolution(o, o, w, False, noise, rng))
        self.convolutions = nn.ModuleList(convolutions)
        self.to_picture = nn.ModuleList([ToPicture(c, outputs, w, rng) for c in channels])

    def forward(
        self,
        w: Float[Tensor, "b layers w"],
        rng: torch.Generator | None = None,
        added: Float[Tensor, "b c 4 4"] | None = None,
    ) -> Float[Tensor, "b outputs r r"]:
        """`added` to the coarsest features: what somebody else knows to be in these places."""
        x = self._coarsest(w[:, 0])
        if added is not None:
            x = (x + added) / math.sqrt(2)
        picture = None
        for layer, convolution in enumerate(self.convolutions):
            x = convolution(x, w[:, layer], rng)
            if layer % 2 == 0:  # the last convolution of a resolution
                part = self.to_picture[layer // 2](x, w[:, layer + 1])
                picture = part if picture is None else upsample(picture) + part
        assert picture is not None
        return picture

    def _coarsest(self, w: Float[Tensor, "b w"]) -> Float[Tensor, "b c 4 4"]:
        if self.start is not None:
            return self.start(w).unflatten(1, (-1, COARSEST, COARSEST))
        assert self.constant is not None
        return self.constant.expand(len(w), -1, -1, -1)
