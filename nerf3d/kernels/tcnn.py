"""Hash encodings and small networks by tiny-cuda-nn (github.com/NVlabs/tiny-cuda-nn), on its own parameter layout.

**Encoding.** Its `HashGrid` gives a level of scale s the stride ceil(s) + 1, one less than ours: where s + 0.5 reaches
ceil(s), the outermost corners take the entries of the next row. So one HashGrid of ours many levels is not one of theirs.
But a HashGrid of a single level has the scale base_resolution - 1 and the stride base_resolution, exactly. With
base_resolution = our stride ceil(s) + 2, asked at x s / (stride - 1) rather than x, it lies at our position x s + 0.5, has
our corners and our hash, and it is dense exactly where our level is. A `Composite` of such grids is our encoding:

    input        (n, levels * 3), x times the ratio of each level
    output       (n, levels * features), in our order
    parameters   level after level, rows of features as ours; a dense level is filled up to a multiple of 8 rows

It computes in single precision, and agrees with the reference within 1e-4 of the largest value (the ratio costs one more
rounding of the position). Tables in half precision stay with others, for it would gather their gradients in half.

**Network.** `FullyFusedMLP` has hidden layers of 16, 32, 64 or 128 neurons, all alike, ReLU and no biases. Its parameters
are our matrices (out, in), row after row and layer after layer, with inputs and outputs filled up to multiples of 16. It
fills up inputs with ones; the weights that meet them, and those of neurons that we do not have, are zeros here. It computes
in half precision, and agrees within 0.2 % in norm, its gradients within 3 %: rounding decides here and there whether a
neuron is silent, and then a point's gradient is another. Networks of one layer, or of more than 128 neurons, stay with
others.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import tinycudann
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import pad

from nerf3d.kernels.borrow import borrow
from nerf3d.kernels.hash_grid import GridLayout, hash_encode_reference
from nerf3d.kernels.mlp import mlp_reference

WIDTHS = (16, 32, 64, 128)
"""Of a fused network's hidden layers."""
TOTAL = 256.0
"""What gradients of a network's output add up to in it. Those of its weights then stay far below 65504, the largest number
in half precision, and among a million rows an average one is still ten times the smallest with all its digits."""

Module: TypeAlias = Any
"""An `Encoding` or a `Network` of tinycudann."""
Encode = Callable[[Tensor, Tensor, GridLayout], Tensor]
Apply = Callable[[Tensor, list[Tensor]], Tensor]


def encodes(table: Tensor, layout: GridLayout) -> bool:
    """Whether its layout can be ours."""
    fits = table.dtype == torch.float32 and layout.features in (1, 2, 4, 8)
    return fits and _grid(layout, table.device) is not None


def hash_encode(
    x: Float[Tensor, "n 3"], table: Float[Tensor, "entries f"], layout: GridLayout, ours: Encode
) -> Float[Tensor, "n c"]:
    """As `hash_grid.hash_encode`, where `encodes` says so; `ours` is a version that has second derivatives."""
    grid = _grid(layout, x.device)
    ratio = _ratio(layout, x.device)

    def theirs(x: Tensor, table: Tensor) -> tuple[Tensor]:
        inside = x.nan_to_num(0.0).clamp(0, 1)
        places = (inside[:, None] * ratio[:, None]).flatten(1)
        rows = table.split(np.diff(layout.offsets).tolist())
        return (_run(grid, places, [pad(level, (0, 0, 0, -len(level) % 8)) for level in rows]),)

    return borrow(theirs, lambda x, table: (ours(x, table, layout),), (x, table))[0]


def fuses(x: Tensor, weights: list[Tensor]) -> bool:
    """Whether it has such a network."""
    widest = max(max(weight.shape) for weight in weights)
    return len(weights) > 1 and widest <= WIDTHS[-1] and _network(*_sizes(weights), x.device) is not None


def mlp(x: Float[Tensor, "n i"], weights: list[Tensor], ours: Apply) -> Float[Tensor, "n o"]:
    """As `mlp.mlp`, where `fuses` says so; `ours` is a version that has second derivatives."""
    inputs, outputs, width, hidden = _sizes(weights)
    network = _network(inputs, outputs, width, hidden, x.device)
    columns = [_filled(inputs), *[width] * hidden]
    rows = [*[width] * hidden, _filled(outputs)]

    def theirs(x: Tensor, *weights: Tensor) -> tuple[Tensor]:
        layers = [pad(w, (0, j - w.shape[1], 0, i - w.shape[0])) for w, i, j in zip(weights, rows, columns)]
        return (_run(network, x, layers).float(),)

    return borrow(theirs, lambda x, *weights: (ours(x, list(weights)),), (x, *weights), TOTAL)[0]


@torch.enable_grad()
def probe(device: torch.device) -> None:
    """A few points through an encoding and a network, and back; raises ArithmeticError where something comes out wrong."""
    rng = torch.Generator().manual_seed(0)
    layout = GridLayout(levels=2, features=2, log2_table_size=8, coarsest=4, finest=9)
    x, table = torch.rand(300, 3, generator=rng).to(device), torch.randn(layout.entries, 2, generator=rng).to(device)
    shapes = ((300, 4), (9, 4), (3, 9))  # of small integers, so that no rounding decides which neurons are silent
    h, *weights = (torch.randint(-2, 3, shape, generator=rng).float().to(device) for shape in shapes)
    if not encodes(table, layout) or not fuses(h, weights):
        raise ArithmeticError("its parameters lie otherwise than is known here")

    def encoding(table: Tensor) -> tuple[Tensor, Tensor]:
        return hash_encode(x, table, layout, hash_encode_reference), hash_encode_reference(x, table, layout)

    def network(h: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        return mlp(h, list(weights), mlp_reference), mlp_reference(h, list(weights))

    for pair, tensors, tolerance in ((encoding, [table], 1e-3), (network, [h, *weights], 1e-2)):
        tensors = [tensor.requires_grad_() for tensor in tensors]
        theirs, right = ([y.detach(), *torch.autograd.grad(y.sum(), tensors)] for y in pair(*tensors))
        wrong = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(theirs, right, strict=True))
        if not wrong <= tolerance:
            raise ArithmeticError(f"its results are wrong by {wrong:.0%}")


@lru_cache(maxsize=64)
def _grid(layout: GridLayout, device: torch.device) -> Module:
    levels = [
        {
            "n_dims_to_encode": 3,
            "otype": "HashGrid",
            "n_levels": 1,
            "n_features_per_level": layout.features,
            "log2_hashmap_size": layout.log2_table_size,
            "base_resolution": int(side),
        }
        for side in _sides(layout)
    ]
    rows = sum(-(-count // 8) * 8 for count in np.diff(layout.offsets).tolist())
    with torch.cuda.device_of(torch.empty(0, device=device)):  # it takes the current device
        grid = tinycudann.Encoding(3 * layout.levels, {"otype": "Composite", "nested": levels}, dtype=torch.float32)
    return _emptied(grid, rows * layout.features)


@lru_cache(maxsize=64)
def _network(inputs: int, outputs: int, width: int, hidden: int, device: torch.device) -> Module:
    config = {
        "otype": "FullyFusedMLP",
        "activation": "ReLU",
        "output_activation": "None",
        "n_neurons": width,
        "n_hidden_layers": hidden,
    }
    with torch.cuda.device_of(torch.empty(0, device=device)):
        network = tinycudann.Network(inputs, outputs, config)
    network.loss_scale = 1.0  # it would scale gradients after they were rounded; `borrow` does so before
    return _emptied(network, width * (_filled(inputs) + (hidden - 1) * width + _filled(outputs)))


def _emptied(module: Module, expected: int) -> Module:
    """The module without the parameters that it began with, since it is lent others; None if their number is not ours."""
    if module.params.numel() != expected:
        layout = f"{module.params.numel()} parameters where {expected} were expected"
        warnings.warn(f"tiny-cuda-nn has {layout}; others do its work", stacklevel=2)
        return None
    module.params = torch.nn.Parameter(module.params.new_empty(0))
    return module


def _run(module: Module, x: Tensor, parameters: list[Tensor]) -> Tensor:
    flat = torch.cat([part.reshape(-1) for part in parameters])
    with torch.cuda.device_of(x):
        result: Tensor = functional_call(module, {"params": flat}, (x,))
    return result


@lru_cache(maxsize=64)
def _ratio(layout: GridLayout, device: torch.device) -> Tensor:
    """For each level, its scale by that of the grid that stands for it."""
    return torch.from_numpy(layout.scales / (_sides(layout) - 1)).float().to(device)


def _sides(layout: GridLayout) -> np.ndarray:
    """Corners along one side of each level, hashed or not."""
    return np.ceil(layout.scales).astype(np.int64) + 2


def _sizes(weights: list[Tensor]) -> tuple[int, int, int, int]:
    """Inputs, outputs, neurons of a hidden layer, hidden layers."""
    widest = max(weight.shape[0] for weight in weights[:-1])
    width = next(width for width in WIDTHS if width >= widest)
    return weights[0].shape[1], weights[-1].shape[0], width, len(weights) - 1


def _filled(count: int) -> int:
    """The next multiple of 16."""
    return -(-count // 16) * 16
