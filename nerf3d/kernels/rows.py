"""Weighted sums of a table's rows, and their derivatives: what every lookup between the points of a grid comes down to.

With T the table, i_nk the rows that sum n looks at and w_nk how much each counts:

    gather(T, i, w)_n       = sum_k w_nk T[i_nk]
    scatter(g, i, w, r)_j   = sum_{n, k: i_nk = j} w_nk g_n           r rows; d gather / d T against g
    products(T, i, g)_nk    = T[i_nk] . g_n                           d gather / d w against g

Each is linear in each of its two tensors, and their derivatives are the same three again: so all can be differentiated as
often as one likes.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from nerf3d.kernels.backend import backend


def gather(
    table: Float[Tensor, "r c"], index: Int64[Tensor, "n k"], weight: Float[Tensor, "n k"]
) -> Float[Tensor, "n c"]:
    """Sums of rows: n of them, of k rows each.

    >>> gather(torch.tensor([[1.0], [10.0]]), torch.tensor([[0, 1]]), torch.tensor([[2.0, 3.0]]))
    tensor([[32.]])
    """
    result: Tensor = _Gather.apply(table, index, weight)
    return result


def scatter(
    values: Float[Tensor, "n c"], index: Int64[Tensor, "n k"], weight: Float[Tensor, "n k"], rows: int
) -> Float[Tensor, "rows c"]:
    """Values added to rows: what `gather` took from each comes back to it.

    >>> scatter(torch.tensor([[1.0], [10.0]]), torch.tensor([[0, 1], [1, 1]]), torch.tensor([[2.0, 3.0], [4.0, 5.0]]), 2)
    tensor([[ 2.],
            [93.]])
    """
    result: Tensor = _Scatter.apply(values, index, weight, rows)
    return result


def products(
    table: Float[Tensor, "r c"], index: Int64[Tensor, "n k"], values: Float[Tensor, "n c"]
) -> Float[Tensor, "n k"]:
    """Rows times values: how much `gather`'s sums change with each weight.

    >>> products(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1, 0]]), torch.tensor([[10.0, 1.0]]))
    tensor([[34., 12.]])
    """
    result: Tensor = _Products.apply(table, index, values)
    return result


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, weight)
        return F.embedding_bag(index, table, per_sample_weights=weight, mode="sum")  # nothing is faster

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        table, index, weight = ctx.saved_tensors
        to_table = scatter(grad, index, weight, len(table)) if ctx.needs_input_grad[0] else None
        to_weight = products(table, index, grad) if ctx.needs_input_grad[2] else None
        return to_table, None, to_weight


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, index: Tensor, weight: Tensor, rows: int) -> Tensor:
        ctx.save_for_backward(values, index, weight)
        out = values.new_zeros(rows, values.shape[1])
        name = backend(values)
        if name == "triton":
            from nerf3d.kernels import rows_triton

            rows_triton.scatter(values, index, weight, out)
            return out
        if name == "torch":
            each = (weight[:, :, None] * values[:, None, :]).flatten(0, 1)
            return out.index_add_(0, index.flatten(), each)
        from numba import get_num_threads

        from nerf3d.kernels import rows_numba

        rows_numba.scatter(*_arrays(values, index, weight), get_num_threads(), out.numpy())
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        values, index, weight = ctx.saved_tensors
        to_values = gather(grad, index, weight) if ctx.needs_input_grad[0] else None
        to_weight = products(grad, index, values) if ctx.needs_input_grad[2] else None
        return to_values, None, to_weight, None


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table: Tensor, index: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(table, index, values)
        name = backend(table)
        if name == "triton":
            from nerf3d.kernels import rows_triton

            return rows_triton.products(table, index, values)
        if name == "torch":
            return (table[index] @ values[:, :, None])[:, :, 0]
        from nerf3d.kernels import rows_numba

        out = torch.empty(index.shape[0], index.shape[1])
        rows_numba.products(*_arrays(table, index, values), out.numpy())
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):  # type: ignore[override]
        table, index, values = ctx.saved_tensors
        to_table = scatter(values, index, grad, len(table)) if ctx.needs_input_grad[0] else None
        to_values = gather(table, index, grad) if ctx.needs_input_grad[2] else None
        return to_table, None, to_values


def _arrays(*tensors: Tensor):  # type: ignore[no-untyped-def]
    return [t.detach().contiguous().numpy() for t in tensors]
