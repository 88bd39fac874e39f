"""Expressions as programs write them: the same words, once with PyTorch and once here."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import tinygrad_cv as tg

X = np.array([[0.3, 0.9, 0.1], [0.7, 0.2, 0.6]], "float32")
EXPRESSIONS = """
x.max(1)[0]
x.max(dim=1, keepdim=True)[1]
torch.max(x, 1)
x.topk(2, 1, True, True)[1].t()
x.view(x.size(0), -1)
x.sum(1, keepdim=True).expand_as(x)
x.mean([0, 1])
x.std(dim=0, unbiased=False)
x.var(0, correction=0)
x.norm(p="fro")
x.norm(2, dim=1, keepdim=True)
x.pow(2).sum(-1).sqrt()
torch.cat([x, x], dim=-1)
torch.cat((x, x), -1).chunk(2, -1)[1]
x.unsqueeze(1).repeat(1, 2, 1)
x.clamp(min=0.0)
x.clamp_(0, 1)
x.masked_fill(x > 0.5, float("-inf"))
x.scatter_(1, torch.tensor([[0], [1]]), 1.0)
torch.zeros(2, 3).scatter_(1, torch.tensor([[0], [1]]), 1)
x.gather(1, torch.tensor([[0], [1]]))
x.index_select(1, torch.tensor([0, 2]))
x.flip([1])
x.roll(1, dims=1)
x.eq(x.max()).float()
x.eq(x).sum().item()
(x > 0.5).long().sum().item()
x.type(torch.float64), x.cpu().type()
x.new_zeros(x.size(0), 2)
x.new_tensor([1.0, 2.0])
x.new(2, 3).zero_()
x.permute(1, 0).contiguous().view(-1)
x.transpose(0, 1).reshape(-1)
x.transpose_(0, 1)
x.unsqueeze_(0).squeeze_(0)
x.t_()
x.tril(-1) + x.triu(1)
torch.einsum("ij,kj->ik", x, x)
x.matmul(x.t())
torch.addmm(torch.zeros(2, 2), x, x.t(), beta=0.5, alpha=2)
torch.bmm(x[None], x.t()[None])
torch.where(x > 0.5, x, torch.zeros_like(x))
torch.where(x > 0.5)[0]
x[x > 0.5]
x[torch.arange(2), torch.tensor([0, 1])]
x.nonzero()
torch.nonzero(x > 0.5, as_tuple=True)[1]
x.bernoulli_(1.0)
x.fill_(2).mul_(3).add_(1, alpha=2).div_(2)
x.addcmul_(x, x, value=0.5)
x.lerp_(torch.ones(2, 3), 0.5)
torch.add(x, x, alpha=-1)
x.unfold(1, 2, 1)
x.numel(), x.nelement(), x.dim(), x.stride()
x.split([1, 2], dim=1)[1]
torch.split(x, 1)[0]
torch.stack([x, x], dim=1).unbind(1)[0]
x.equal(x), torch.allclose(x, x)
x.unique(), torch.unique(x, return_counts=True)[1]
x.cumsum(1), x.cumprod(dim=1)
x.sort(descending=True)[0]
x.argsort(dim=1)
x.kthvalue(2, dim=1)[0]
x.median(), x.median(1)[1]
x.isnan().any().item()
x.expand(2, 2, 3)
x.diag(), x.diagonal()
torch.linspace(0, 1, 5).round(decimals=1)
torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")[1]
x.logsumexp(1), x.softmax(1), x.log_softmax(dim=-1)
x.div(0.3, rounding_mode="floor")
x.index_fill_(1, torch.tensor([0]), 9.0)
x.index_add_(0, torch.tensor([0, 0]), torch.ones(2, 3))
x.index_copy_(0, torch.tensor([1]), torch.ones(1, 3))
x.fill_diagonal_(7.0)
x.squeeze().detach().cpu().numpy().shape
x.mode(1)[0]
torch.linalg.svd(x)[2].shape, torch.svd(x)[2].shape
torch.linalg.norm(x, dim=1), torch.linalg.norm(x, ord="fro")
x.select(1, 0), x.narrow(1, 0, 2)
x.histc(4, 0, 1)
torch.bincount(torch.tensor([0, 1, 1]), minlength=4)
x.view_as(x).sum_to_size(1, 3)
x.to(torch.float64).mean(dtype=torch.float32)
x.sum(dtype=torch.float64)
x.byte().bool().int()
x.ge(0.5).all(dim=1), x.any(1)
torch.masked_select(x, x > 0.5)
x.put_(torch.tensor([0]), torch.tensor([5.0]))
x.mT.shape, x.T.shape, x.H.shape
x.item() if x.numel() == 1 else x[0, 0].item()
x.apply_(lambda v: v + 1)
x.renorm(2, 0, 0.5)
x.floor_divide(0.3)
x.view(torch.int32)
torch.isin(x, x[0])
x.index_put_((torch.tensor([0]), torch.tensor([1])), torch.tensor(3.0))
x.masked_scatter_(x > 0.5, torch.arange(6.0))
x.swapaxes(0, 1), x.movedim(0, 1), x.swapdims(0, 1)
x.float().half().float()
x.minimum(x.mean()), x.maximum(x.mean())
f"{x[0, 0]:.3f} {x.mean().item():.4f} {x.sum():>8.2f}"
x.size(-1), x.shape[0], x.size()[1:].numel()
"""


def flat(value: Any) -> list[Any]:
    """The arrays and plain values of a result, one after the other."""
    if isinstance(value, tuple | list):
        return [part for several in value for part in flat(several)]
    return [value.detach().cpu().numpy() if hasattr(value, "detach") else value]


@pytest.mark.parametrize("expression", EXPRESSIONS.strip().split("\n"))
def test_an_expression_means_what_it_means_there(expression: str) -> None:
    theirs = flat(eval(expression, {"torch": torch, "x": torch.tensor(X)}))
    ours = flat(eval(expression, {"torch": tg, "x": tg.tensor(X)}))
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, np.ndarray):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            assert_allclose(a, b, rtol=2e-5, atol=1e-6)
        else:
            assert a == (pytest.approx(b) if isinstance(b, float) else b)
