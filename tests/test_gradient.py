"""The loss of a pack and its gradient: compiled code makes what autograd makes, run by run."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from rnnbench.engine.gradient import loss_and_gradient
from rnnbench.engine.native import head

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}  # of the largest number

# loss, replicas, rows, units, outputs: widths beside and on those of vectors, slices of rows
SIZES = [
    ("mse", 1, 4, 5, 1),
    ("mse", 3, 37, 16, 3),
    ("bernoulli", 2, 60, 50, 88),
    ("bernoulli", 1, 100, 33, 16),
    ("cross_entropy", 3, 20, 13, 10),
    ("cross_entropy", 2, 1200, 24, 65),
    ("cross_entropy", 1, 3, 2, 2),
]


def problem(loss, K, N, H, C, dtype):
    made = torch.Generator().manual_seed(0)
    x = torch.randn(K, N, H, dtype=dtype, generator=made)
    W = torch.randn(K, H, C, dtype=dtype, generator=made) / H**0.5
    b = torch.randn(K, C, dtype=dtype, generator=made)
    y = torch.randn(K, N, C, dtype=dtype, generator=made)
    if loss == "bernoulli":
        y = (y > 1).to(dtype)
    if loss == "cross_entropy":
        y = torch.randint(C, (K, N), generator=made)
    return x, W, b, y, torch.rand(K, N, generator=made) < 0.8


def by_autograd(loss, x, W, b, y, mask):
    """The same through PyTorch's own losses in double precision, a replica at a time."""
    found, y = [], y if loss == "cross_entropy" else y.double()
    for k in range(len(x)):
        own = [t[k].double().clone().requires_grad_() for t in (x, W, b)]
        chosen = slice(None) if mask is None else mask[k]
        prediction, wanted = (own[0] @ own[1] + own[2])[chosen], y[k][chosen]
        if loss == "mse":
            value = F.mse_loss(prediction, wanted)
        elif loss == "bernoulli":
            summed = F.binary_cross_entropy_with_logits(prediction, wanted, reduction="sum")
            value = summed / len(wanted)
        else:
            value = F.cross_entropy(prediction, wanted)
        found.append((value.detach(), *torch.autograd.grad(value, own)))
    return [torch.stack(parts) for parts in zip(*found, strict=True)]


def assert_close(ours, theirs):
    assert ours.shape == theirs.shape and theirs.isfinite().all()
    difference = (ours.double() - theirs.double()).abs().max()
    assert difference <= TOLERANCE[ours.dtype] * theirs.abs().max()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_read_out_and_loss_are_those_of_autograd(size, masked, dtype):
    *given, mask = problem(*size, dtype)
    mask = mask | (torch.arange(size[2]) == 0) if masked else None
    ours = head.loss_and_gradient(size[0], *given, mask)
    for found, expected in zip(ours, by_autograd(size[0], *given, mask), strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("size", SIZES)
def test_the_bits_depend_neither_on_company_nor_on_threads(size):
    *given, mask = problem(*size, torch.float32)
    several = head.loss_and_gradient(size[0], *given, mask)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        threaded = head.loss_and_gradient(size[0], *given, mask)
    finally:
        torch.set_num_threads(before)
    for k in range(size[1]):
        alone = head.loss_and_gradient(size[0], *(t[k : k + 1] for t in (*given, mask)))
        for one, found, other in zip(alone, several, threaded, strict=True):
            assert torch.equal(one[0], found[k]) and torch.equal(found, other)


def test_rows_that_do_not_count_have_no_gradient():
    *given, mask = problem("cross_entropy", 2, 30, 7, 5, torch.float64)
    mask[1] = False
    loss, slope_x, *slopes = head.loss_and_gradient("cross_entropy", *given, mask)
    assert loss[1] == 0 and not slope_x[1].any() and not any(s[1].any() for s in slopes)
    assert not slope_x[0][~mask[0]].any() and slope_x[0][mask[0]].any(1).all()


def test_large_predictions_are_no_matter():
    """Softmax and logistic function of what exp would overflow with; NaN stays NaN."""
    x = torch.tensor([[[300.0], [-300.0]], [[float("nan")], [0.0]]])
    W, b = torch.tensor([[[1.0, 0.0, -1.0]]] * 2), torch.zeros(2, 3)
    for loss, y in (
        ("cross_entropy", torch.tensor([[2, 2]] * 2)),
        ("bernoulli", torch.ones(2, 2, 3)),
    ):
        ours = head.loss_and_gradient(loss, x, W, b, y, None)
        theirs = by_autograd(loss, x, W, b, y, None)
        for found, expected in zip(ours, theirs, strict=True):
            assert_close(found[0], expected[0])
        assert ours[0][1].isnan()


def test_a_class_that_is_no_output_is_refused():
    x, W, b, y, _ = problem("cross_entropy", 2, 6, 4, 3, torch.float32)
    y[1, 2] = 3
    with pytest.raises(IndexError, match="classes are numbers from 0 to 2, got 0 to 3"):
        head.loss_and_gradient("cross_entropy", x, W, b, y, None)


CASES = {
    "the last step": ("cell=gru", "task=adding", "task.length=9"),
    "masked symbols": ("cell=mut1", "task=memorize", "task.items=3", "task.alphabet=5"),
    "layers and dropout": (
        *("cell=lstm", "task=memorize", "task.items=3", "model.layers=2", "model.dropout=0.3"),
    ),
}


@pytest.mark.parametrize("engine", ["native", "loop"])
@pytest.mark.parametrize("case", CASES)
def test_the_gradient_of_a_pack_is_that_of_autograd(case, engine, settings_for, pack_of):
    """All parameters by name, whichever engine the layers have."""
    common = ("model.hidden=6", "model.dtype=float64", f"engine={engine}")
    run = settings_for(*CASES[case], *common)
    pack = pack_of(run, replace(run, seed=1), replace(run, seed=2))
    batch = pack.feeder.training(4, 7)
    states, keep = pack.network.zero_state(7), pack.kept((batch.x.shape[1], 7), 4)
    given = (pack.network, pack.unroll, batch, states, pack.task.loss, keep)
    (loss, ours, after), (expected, theirs, _) = (
        loss_and_gradient(*given, compiled=compiled) for compiled in (True, False)
    )
    assert_close(loss, expected)
    assert list(ours) == list(theirs) == list(pack.network.params)
    for name, gradient in ours.items():
        assert gradient.shape == pack.network.params[name].shape
        assert_close(gradient, theirs[name])
    assert len(after) == run.model.layers
