"""A second device without hardware, to see on a CPU what would go wrong on a GPU, and where a GPU would be waited for.

Tensors that are "elsewhere" hold ordinary ones and say that they are on torch's meta device, the only other one that
autograd knows in a build for the CPU. Inside `Elsewhere()` every operation on them is done by the CPU, and refused where
CUDA would refuse it: tensors of two devices in one operation, an index from elsewhere into a tensor that is here, a random
stream that draws numbers for the other device. Everything that CUDA has to be waited for is counted, by the line of the
program that asked for it.
"""

import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
PROGRAM = str(Path(__file__).resolve().parents[1] / "nerf3d")
STREAM = 2**33 + 7
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "repeat_interleave", "is_nonzero", "equal", "unique")
MAKERS = (torch.tensor, torch.as_tensor, Tensor.new_tensor)


class Generator(torch.Generator):
    """A random stream of that device; its seed is how it is known again inside of operations."""

    device = DEVICE  # type: ignore[assignment]

    def __init__(self) -> None:
        self.manual_seed(STREAM)


class There(Tensor):
    """A tensor on that device."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "There":
        made: There = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )
        made.here = here
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"There({self.here})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        raise RuntimeError(f"{func} outside of Elsewhere()")


class _Makers(TorchFunctionMode):
    """Tensors of Python's numbers are made here and moved: torch would leave them without values."""

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = dict(kwargs or {})
        if func in (Tensor.__getitem__, Tensor.__setitem__):  # lists of numbers become tensors too
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = args[0], tuple(torch.tensor(i) if isinstance(i, list | tuple) else i for i in index), *args[2:]
        if func in MAKERS:
            device = torch.device(kwargs.pop("device", None) or "cpu")
            if func is Tensor.new_tensor:
                made, args = args[0], args[1:]
                device, kwargs = made.device, {"dtype": made.dtype, **kwargs}
            if device == DEVICE:
                return torch.tensor(*args, **kwargs).to(DEVICE)
            return torch.tensor(*args, **kwargs) if func is Tensor.new_tensor else func(*args, **kwargs)
        return func(*args, **kwargs)


class Elsewhere(TorchDispatchMode):
    """The device works inside of this context. `waits` counts the operations that a GPU is waited for, by their line."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self._stack = ExitStack()

    def __enter__(self) -> "Elsewhere":
        super().__enter__()
        self._stack.enter_context(_Makers())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        super().__exit__(kind, value, trace)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = dict(kwargs or {})
        name = func._schema.name.removeprefix("aten::")
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        there = any(isinstance(tensor, There) for tensor in given)
        asked = kwargs.get("device")
        result_there = there if asked is None else torch.device(asked) == DEVICE
        self._refuse(name, args, kwargs, given, result_there)
        if there and self._waits(name, args, result_there):
            self.waits[_line()] += 1
        if asked is not None:
            kwargs["device"] = torch.device("cpu")
        wrappers = {id(tensor.here): tensor for tensor in given if isinstance(tensor, There)}
        out = func(*tree_map(_here, args), **tree_map(_here, kwargs))
        if not result_there:
            return out
        return tree_map(
            lambda t: wrappers[id(t)] if id(t) in wrappers else There(t) if isinstance(t, Tensor) else t, out
        )

    def _refuse(self, name: str, args: Any, kwargs: Any, given: list[Tensor], result_there: bool) -> None:
        if any(tensor.device == DEVICE and not isinstance(tensor, There) for tensor in given):
            raise RuntimeError(f"{name}: a tensor has lost its values, at {_line()}: this imitation does not know how")
        stream = next((a for a in (*args, *kwargs.values()) if isinstance(a, torch.Generator)), None)
        if stream is not None and (stream.initial_seed() == STREAM) != result_there:
            raise RuntimeError(
                f"{name}: the generator is on another device than the numbers that it draws, at {_line()}"
            )
        if name in ("copy_", "_to_copy", "index", "index_put_", "_index_put_impl_", "index_put"):
            if name.startswith(("index", "_index")) and not isinstance(args[0], There):
                indices = [i for i in args[1] if i is not None]
                if any(isinstance(i, There) and i.dim() for i in indices):
                    raise RuntimeError(f"{name}: indices are elsewhere, and the indexed tensor is here, at {_line()}")
            return
        devices = {isinstance(tensor, There) for tensor in given if tensor.dim() or isinstance(tensor, There)}
        if len(devices) > 1:
            raise RuntimeError(f"{name}: tensors on two devices, at {_line()}")

    def _waits(self, name: str, args: Any, result_there: bool) -> bool:
        masked = name in ("index", "index_put_") and any(i is not None and i.dtype == torch.bool for i in args[1])
        return masked or name in WAITS or (name == "_to_copy" and not result_there)


def _here(value: Any) -> Any:
    return value.here if isinstance(value, There) else value


def _line() -> str:
    """The innermost line of the program itself."""
    frame = sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith(PROGRAM):
        frame = frame.f_back  # type: ignore[assignment]
    return f"{frame.f_code.co_filename.removeprefix(PROGRAM + '/')}:{frame.f_lineno}" if frame is not None else "?"
