"""tiny-cuda-nn and nerfacc as versions of our kernels: on a GPU where they are installed, and everywhere in imitations.

The imitations follow the libraries' sources; they show that our parameters, paddings and gradients arrive where they belong.
"""

import sys
from collections.abc import Iterator

import imitated_nerfacc
import imitated_tinycudann
import pytest
import torch
from kernel_cases import CASES, projected, same
from torch import Tensor

import nerf3d.kernels
from nerf3d.cli import main
from nerf3d.core import Samples
from nerf3d.errors import InputError
from nerf3d.kernels import backend as house
from nerf3d.kernels.backend import Library, backend, borrows, choose, library_fault, using
from nerf3d.kernels.composite import composite
from nerf3d.kernels.hash_grid import GridLayout, hash_encode, hash_encode_reference
from nerf3d.kernels.mlp import mlp, mlp_reference

CPU = torch.device("cpu")
OURS = {"tcnn": "tinycudann", "nerfacc": "nerfacc"}


def _forget() -> None:
    """What was imported and found out about the libraries."""
    for name in ("tcnn", "composite_nerfacc"):
        sys.modules.pop(f"nerf3d.kernels.{name}", None)
        vars(nerf3d.kernels).pop(name, None)
    library_fault.cache_clear()


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(house, "_chosen", "auto")
    _forget()
    yield
    _forget()


@pytest.fixture
def imitated(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    monkeypatch.setitem(sys.modules, "tinycudann", imitated_tinycudann)
    monkeypatch.setitem(sys.modules, "nerfacc", imitated_nerfacc)
    assert (library_fault("tcnn", CPU), library_fault("nerfacc", CPU)) == ("", "")
    imitated_tinycudann.calls.clear()
    imitated_nerfacc.calls.clear()
    return CPU


@pytest.fixture(params=["imitated", "installed"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where both libraries work."""
    if request.param == "imitated":
        return torch.device(request.getfixturevalue("imitated"))
    if not torch.cuda.is_available():
        pytest.skip("tiny-cuda-nn and nerfacc need a CUDA device")
    gpu = torch.device("cuda", torch.cuda.current_device())
    names: tuple[Library, ...] = ("tcnn", "nerfacc")
    if faults := [f"{name} ({fault})" for name in names if (fault := library_fault(name, gpu))]:
        pytest.skip(f"not to be had here: {', '.join(faults)}")
    return gpu


def _evaluated(name: str, device: torch.device, version: str, second: bool) -> list[Tensor]:
    """Outputs and gradients of a case; or the gradients, and theirs in turn."""
    function, inputs = CASES[name]()
    tensors = [tensor.to(device).requires_grad_() for tensor in inputs]
    with using(version):  # type: ignore[arg-type]
        outputs = function(*tensors)
        if second:
            outputs = torch.autograd.grad(projected(outputs, 5), tensors, create_graph=True)
        found = [*outputs, *torch.autograd.grad(projected(outputs, 4), tensors)]
    return [tensor.detach() for tensor in found]


BORROWED = [name for name in CASES if "rows" not in name]


@pytest.mark.parametrize("name", BORROWED)
def test_equals_reference(name: str, device: torch.device) -> None:
    fast, plain = (_evaluated(name, device, version, second=False) for version in ("tcnn", "torch"))
    for number, (a, b) in enumerate(zip(fast, plain, strict=True)):
        if "network" in name:  # half precision, in which a neuron may be silent that is not in single
            assert float((a - b).norm() / b.norm()) < (3e-2 if number else 2e-3)
        else:
            same(a, b, 1e-4 if "grid" in name else 1e-5)


@pytest.mark.parametrize("name", ["grid, dense and hashed levels", "network of odd widths", "compositing"])
def test_second_derivative_equals_reference(name: str, device: torch.device) -> None:
    fast, plain = (_evaluated(name, device, version, second=True) for version in ("tcnn", "torch"))
    for a, b in zip(fast, plain, strict=True):
        same(a, b, 2e-5)


def test_the_outermost_corners_are_their_own(device: torch.device) -> None:
    """Where tiny-cuda-nn's own grid of many levels would take the next row's entries."""
    layout = GridLayout(4, 2, 12, 4, 64)
    table = torch.randn(layout.entries, 2, generator=torch.Generator().manual_seed(0)).to(device)
    edge = torch.cartesian_prod(*[torch.tensor([0.0, 0.97, 1.0])] * 3).to(device)
    with using("tcnn"):
        same(hash_encode(edge, table, layout), hash_encode_reference(edge, table, layout), 1e-4)


def test_points_outside_and_undefined_ones_are_moved_to_the_border(device: torch.device) -> None:
    layout = GridLayout(2, 2, 10, 4, 16)
    table = torch.randn(layout.entries, 2, generator=torch.Generator().manual_seed(0)).to(device)
    x = torch.tensor([[torch.nan, 0.5, 2.0], [torch.inf, -torch.inf, 1e30], [-1.0, 1.0, 0.3]], device=device)
    x.requires_grad_()
    with using("tcnn"):
        encoded = hash_encode(x, table, layout)
        (slope,) = torch.autograd.grad(encoded.sum(), x)
    same(encoded[2:].detach(), hash_encode_reference(x[2:].detach(), table, layout), 1e-4)
    assert bool(encoded.isfinite().all())
    assert slope[2, 0] == 0
    assert slope[2, 2] != 0


@pytest.mark.parametrize("size", [1e-12, 1e-8, 1.0, 1e4])
def test_gradients_of_any_size_survive_half_precision(size: float, device: torch.device) -> None:
    """Half precision ends at 6e-8 and at 65504."""
    rng = torch.Generator().manual_seed(0)
    x, *weights = (torch.randn(shape, generator=rng).to(device) for shape in ((5000, 10), (20, 10), (4, 20)))
    tensors = [tensor.requires_grad_() for tensor in (x, *weights)]
    given = (size * torch.rand(5000, 4, generator=rng)).to(device)
    with using("tcnn"):
        fast = torch.autograd.grad(mlp(x, weights), tensors, given)
    plain = torch.autograd.grad(mlp_reference(x, weights), tensors, given)
    for a, b in zip(fast, plain, strict=True):
        assert float((a / size - b / size).norm() / (b / size).norm()) < 1e-2
    with using("tcnn"):
        silent = torch.autograd.grad(mlp(x, weights), tensors, torch.zeros_like(given))
    assert not any(bool(gradient.any()) for gradient in silent)


def test_a_graph_can_be_walked_twice_and_only_where_it_is_wanted(imitated: torch.device) -> None:
    layout = GridLayout(2, 2, 10, 4, 8)
    x, table = torch.rand(5, 3), torch.rand(layout.entries, 2).requires_grad_()
    density, color = torch.rand(4), torch.rand(4, 3).requires_grad_()
    samples = Samples.from_edges(torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 3.0]]))
    with using("tcnn"):
        encoded = hash_encode(x, table, layout)
        once, twice = (torch.autograd.grad(encoded.sum(), table, retain_graph=True)[0] for _ in range(2))
        weights, total, _, _ = composite(density, color, samples, 0.0)
    assert torch.equal(once, twice)
    assert float(once.sum()) == pytest.approx(20)
    (shade,) = torch.autograd.grad(total.sum(), color)
    same(shade, weights.detach()[:, None].expand(-1, 3), 1e-6)


def test_without_gradients_nothing_is_kept_for_them(imitated: torch.device) -> None:
    layout = GridLayout(2, 2, 10, 4, 8)
    table, weights = (
        torch.rand(layout.entries, 2).requires_grad_(),
        [torch.rand(5, 4).requires_grad_(), torch.rand(2, 5)],
    )
    with using("tcnn"), torch.no_grad():
        mlp(hash_encode(torch.rand(5, 3).requires_grad_(), table, layout), weights)
    assert imitated_tinycudann.calls == {"inference": 2}


def test_what_the_libraries_do_not_have_is_left_to_others(imitated: torch.device) -> None:
    odd, known = GridLayout(2, 3, 10, 4, 8), GridLayout(2, 2, 10, 4, 8)
    x = torch.rand(5, 3)
    with using("tcnn"):
        assert backend(x) == "numba"
        assert backend(x.double()) == "torch"
        assert borrows("tcnn", x)
        assert not borrows("tcnn", x.double())
        assert hash_encode(x, torch.rand(odd.entries, 3), odd).shape == (5, 6)
        hash_encode(x, torch.rand(known.entries, 2).half(), known)
        hash_encode(x[:0], torch.rand(known.entries, 2), known)
        mlp(x, [torch.rand(2, 3)])
        mlp(x, [torch.rand(200, 3), torch.rand(2, 200)])
    assert not imitated_tinycudann.calls


def test_parameters_that_lie_otherwise_are_left_alone(imitated: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of networks on GPUs before 7.5 do, where inputs are filled up to multiples of 8."""
    fused = imitated_tinycudann.Fused.__init__

    def otherwise(self: imitated_tinycudann.Fused, inputs: int, outputs: int, config: dict[str, object]) -> None:
        fused(self, inputs, outputs, config)
        self.parameters = 32 * (8 + 8)

    x, weights = torch.rand(5, 3), [torch.rand(32, 3), torch.rand(2, 32)]
    monkeypatch.setattr(imitated_tinycudann.Fused, "__init__", otherwise)
    with using("tcnn"), pytest.warns(UserWarning, match="512 parameters where 1024 were expected"):
        same(mlp(x, weights), mlp_reference(x, weights), 1e-5)


def test_auto_and_double_precision_take_no_library(imitated: torch.device) -> None:
    assert not borrows("tcnn", torch.zeros(1))
    house._chosen = "tcnn"
    assert not borrows("tcnn", torch.zeros(1))  # on a CPU


def test_without_nerfacc_others_composite(imitated: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nerfacc", None)
    _forget()
    samples = Samples.from_edges(torch.tensor([[0.0, 1.0, 2.0]]))
    half = torch.full((2,), 2.0).log()
    with using("tcnn"):
        assert borrows("tcnn", half)
        assert not borrows("nerfacc", half)
        assert float(composite(half, half[:, None], samples, 0.0)[2]) == pytest.approx(0.75)
    assert not imitated_nerfacc.calls


@pytest.fixture
def gpu(imitated: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says that it has one; the probes run on the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(house, "library_fault", lambda name, device: library_fault(name, CPU))
    _forget()


@pytest.mark.usefixtures("gpu")
def test_a_library_is_asked_for_something_small_first(monkeypatch: pytest.MonkeyPatch) -> None:
    choose("tcnn")
    assert house._chosen == "tcnn"
    assert imitated_tinycudann.calls["backward"] == 2
    assert imitated_nerfacc.calls["weights"] == 1
    choose("auto")
    monkeypatch.setattr(imitated_tinycudann.Grid, "scale", lambda self, level: self.base - 1.5)
    _forget()
    with pytest.raises(
        InputError, match=r"does not work on cuda:0 \(ArithmeticError: .* wrong by .*build it anew by pip"
    ):
        choose("tcnn")
    assert house._chosen == "auto"


@pytest.mark.usefixtures("gpu")
def test_a_nerfacc_that_is_broken_is_said_once_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imitated_nerfacc, "exclusive_sum", lambda *_: None)
    with pytest.warns(UserWarning, match=r"nerfacc does not work .*TypeError.*others composite"):
        choose("tcnn")
    assert house._chosen == "tcnn"


@pytest.mark.usefixtures("gpu")
def test_a_build_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(imitated_tinycudann, "Encoding")
    with pytest.raises(InputError, match=r"tiny-cuda-nn does not work on cuda:0 \(AttributeError.*or choose auto"):
        choose("tcnn")


def test_what_is_not_here_is_said_in_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "find_spec", lambda name: None)
    assert main(["fit", "nowhere", "--kernels", "tcnn"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "pip install git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch" in said
    monkeypatch.setattr(house, "find_spec", lambda name: object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"needs a CUDA device, .* choose auto"):
        choose("tcnn")
    assert house._chosen == "auto"
