import torch

from nerf3d.guidance.gradient import as_loss


def test_the_gradient_is_exact_and_the_value_its_size() -> None:
    rng = torch.Generator().manual_seed(0)
    x = (1e4 * torch.randn(2, 3, 4, 4, generator=rng)).requires_grad_()
    grad = torch.randn(x.shape, generator=rng)
    loss = as_loss(x, grad)
    torch.testing.assert_close(loss, 0.5 * grad.square().sum())
    (3 * loss).backward()
    assert torch.equal(x.grad, 3 * grad)


def test_nothing_flows_through_the_gradient_itself() -> None:
    x = torch.ones(3, requires_grad=True)
    as_loss(x, x * 2).backward()
    assert torch.equal(x.grad, torch.full((3,), 2.0))
