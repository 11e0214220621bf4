"""torch.compile and torch.func on the TCMax loss, against eager mode and finite differences."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

from tcmax import TCMaxLoss
from tcmax.information.total_correlation import decoupled, exact, sampled

LABELS = torch.tensor([0, 2, 1, 1, 0])
TUPLES = torch.tensor([[0, 1], [2, 2], [4, 0], [3, 1]])
TABLE = torch.linspace(-1, 1, 9, dtype=torch.float64).reshape(3, 3)


def logits(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, v = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64).unbind()
    return a.requires_grad_(), v.requires_grad_()


def bilinear(rows: dict[str, Tensor]) -> Tensor:
    return rows["a"] * (rows["v"] @ TABLE).tanh()


Form = Callable[[Tensor, Tensor], Tensor]
PRIOR = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
SOFT = torch.tensor([[1, 0, 0], [0, 0.5, 0.5], [0.2, 0.3, 0.5], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
FORMS: dict[str, Form] = {
    "additive": lambda a, v: TCMaxLoss()({"a": a, "v": v}, LABELS),
    "prior": lambda a, v: TCMaxLoss(label_reference="empirical", class_log_prior=PRIOR)({"a": a, "v": v}, LABELS),
    "head": lambda a, v: TCMaxLoss()({"a": a, "v": v}, LABELS, head=bilinear),
    "streamed": lambda a, v: exact((a, v), LABELS, head=lambda rows: rows[0] * rows[1].tanh(), chunk_size=9),
    "tuples": lambda a, v: sampled({"a": a, "v": v}, LABELS, TUPLES),
    "tuples and head": lambda a, v: sampled({"a": a, "v": v}, LABELS, TUPLES, head=bilinear),
    "weighted": lambda a, v: decoupled((a, v), LABELS, weight=TABLE[2].abs(), ignore_index=2),
    "soft": lambda a, v: exact((a, v), SOFT),
}
# Built outside of what is compiled, as a training script does.
SAMPLING = TCMaxLoss(negatives=7)


def drawing(a: Tensor, v: Tensor) -> Tensor:
    return SAMPLING({"a": a, "v": v}, LABELS, generator=torch.Generator().manual_seed(1))


def in_a_larger_graph(form: Form) -> Form:
    """Encoders before the loss, and more of an objective after it."""

    def objective(a: Tensor, v: Tensor) -> Tensor:
        return 2 * form(a @ TABLE, (v @ TABLE).sin()) + 0.1 * (a * v).square().mean()

    return objective


def value_and_gradients(form: Form) -> list[Tensor]:
    leaves = logits()
    value = form(*leaves)
    return [value.detach(), *torch.autograd.grad(value, leaves)]


def assert_compiled_equals_eager(form: Form, **options: object) -> None:
    torch._dynamo.reset()
    expected = value_and_gradients(form)
    assert all(each.abs().max() > 1e-3 for each in expected[1:])
    torch.testing.assert_close(value_and_gradients(torch.compile(form, **options)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FORMS)
def test_a_compiled_loss_has_the_gradient_of_the_eager_one(name: str) -> None:
    """aot_eager differentiates the graph as inductor does, without a compiler; `eager` only captures it."""
    assert_compiled_equals_eager(in_a_larger_graph(FORMS[name]), backend="aot_eager", fullgraph=True)
    assert_compiled_equals_eager(FORMS[name], backend="eager", fullgraph=False)


@pytest.mark.filterwarnings("ignore:Dynamo does not know")
def test_drawing_tuples_breaks_a_graph_and_names_the_function_that_does_not() -> None:
    assert_compiled_equals_eager(in_a_larger_graph(drawing), backend="aot_eager")
    torch._dynamo.reset()
    generator = torch.Generator()
    compiled = torch.compile(SAMPLING, backend="eager", fullgraph=True)
    with pytest.raises(RuntimeError, match=r"draw tuples outside with .*distinct_tuples and call .*sampled"):
        compiled(dict(zip("av", logits(), strict=True)), LABELS, generator=generator)


def test_a_compiled_module_has_the_gradient_of_the_eager_one() -> None:
    """The call that a training script makes, compiled by itself and beside a layer, in float32."""

    class Objective(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3, bias=False)
            self.loss = TCMaxLoss()

        def forward(self, a: Tensor, v: Tensor) -> Tensor:
            return self.loss({"a": self.layer(a), "v": v}, LABELS)

    for module in (Objective(), TCMaxLoss()):
        torch._dynamo.reset()
        compiled = torch.compile(module, backend="aot_eager")
        results = []
        for each in (module, compiled):
            a, v = (value.detach().float().requires_grad_() for value in logits())
            value = each(a, v) if isinstance(module, Objective) else each({"a": a, "v": v}, LABELS)
            results.append([value, *torch.autograd.grad(value, [a, v])])
        torch.testing.assert_close(results[1], results[0])


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_inductor_gives_value_and_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without vector instructions and precompiled headers, which take half a minute to try out on a fresh machine."""
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(config.cpp, "vec_isa_ok", False)
    monkeypatch.setattr(config, "cpp_cache_precompile_headers", False)
    assert_compiled_equals_eager(in_a_larger_graph(FORMS["additive"]), backend="inductor", fullgraph=True)


@pytest.mark.parametrize("name", ["additive", "head"])
@pytest.mark.parametrize("bad", [-100, -1, 3])
def test_a_compiled_loss_refuses_labels_out_of_range(name: str, bad: int) -> None:
    torch._dynamo.reset()
    head = bilinear if name == "head" else None
    compiled = torch.compile(
        lambda a, v, y: TCMaxLoss()({"a": a, "v": v}, y, head=head), backend="aot_eager", fullgraph=True
    )
    with pytest.raises(RuntimeError, match="out of bounds"):
        compiled(*logits(), torch.tensor([0, bad, 1, 1, 0]))


@pytest.mark.parametrize("name", FORMS)
def test_function_transforms_agree_with_autograd(name: str) -> None:
    form = FORMS[name]
    if name == "streamed":
        with pytest.raises(RuntimeError, match="cannot differentiate tuples in chunks: pass chunk_size=25"):
            grad(form)(*logits())
        return
    leaves = logits()
    a, v = (leaf.detach() for leaf in leaves)
    value, *expected = value_and_gradients(form)
    torch.testing.assert_close(list(grad(form, (0, 1))(a, v)), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(list(jacrev(form, (0, 1))(a, v)), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(list(jacfwd(form, (0, 1))(a, v)), expected, rtol=0, atol=1e-12)
    primal, tangent = jvp(form, (a, v), (v, a))
    torch.testing.assert_close(primal, value, rtol=0, atol=1e-12)
    torch.testing.assert_close(tangent, (expected[0] * v + expected[1] * a).sum(), rtol=0, atol=1e-12)
    second = torch.autograd.functional.hessian(lambda a: form(a, v), a)
    assert second.abs().max() > 1e-3
    torch.testing.assert_close(hessian(form)(a, v), second, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", [decoupled, exact], ids=["decoupled", "exact"])
def test_vmap_over_logits_labels_and_reference_is_a_loop(form) -> None:
    first, second = (value.detach() for value in logits()), (value.detach() for value in logits(1))
    a, v = (torch.stack(pair) for pair in zip(first, second, strict=True))
    labels = torch.stack([LABELS, LABELS.flip(0)])
    priors = torch.stack([PRIOR, PRIOR.flip(0)])

    def loss(a: Tensor, v: Tensor, labels: Tensor, prior: Tensor) -> Tensor:
        return form({"a": a, "v": v}, labels, class_log_prior=prior)

    for axes in ((0, 0, 0, 0), (0, None, None, None), (None, None, 0, None), (None, 0, None, 0)):
        whole = (a, v, labels, priors)
        given = [value if axis == 0 else value[0] for value, axis in zip(whole, axes, strict=True)]
        rows = [[value[i] if axis == 0 else value for value, axis in zip(given, axes, strict=True)] for i in range(2)]
        torch.testing.assert_close(
            vmap(loss, axes)(*given), torch.stack([loss(*row) for row in rows]), rtol=0, atol=1e-12
        )
        torch.testing.assert_close(
            vmap(grad(loss), axes)(*given), torch.stack([grad(loss)(*row) for row in rows]), rtol=0, atol=1e-12
        )


def test_forward_mode_over_backward_keeps_its_tangent() -> None:
    """A Hessian-vector product without torch.func: the kept gradient is a constant, and must not be taken for one."""
    a, v = logits()
    direction = v.detach()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(a, direction)
        (gradient,) = torch.autograd.grad(FORMS["additive"](dual, v), dual)
        got = forward_ad.unpack_dual(gradient).tangent
    expected = torch.autograd.functional.hvp(lambda a: exact((a, v), LABELS), a, direction)[1]
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
