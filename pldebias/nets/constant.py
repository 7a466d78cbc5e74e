"""Rows of a batch that shape its normalisation and receive no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_aten = torch.ops.aten


class _Convolution(torch.autograd.Function):
    """A convolution that is differentiated for its first `rows` images alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, rows: int, options: tuple) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rows, ctx.options, ctx.bias = rows, options, None if bias is None else [len(bias)]
        return torch.conv2d(x, weight, bias, *options)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        (x, weight), rows, (stride, padding, dilation, groups) = ctx.saved_tensors, ctx.rows, ctx.options
        wanted = list(ctx.needs_input_grad[:3])
        of_rows, of_weight, of_bias = _aten.convolution_backward(
            gradient[:rows], x[:rows], weight, ctx.bias, stride, padding, dilation, False, [0] * len(stride), groups, wanted
        )
        of_x = None
        if wanted[0]:
            of_x = torch.empty_like(x)
            of_x[:rows] = of_rows
            of_x[rows:] = 0
        return of_x, of_weight, of_bias, None, None


class _Normalisation(torch.autograd.Function):
    """Batch normalisation by the statistics of all rows, whose gradient reaches the first `rows` alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, rows: int, options: tuple) -> Tensor:
        out, *kept, kernel = _aten._batch_norm_impl_index(x, weight, bias, *options)
        ctx.save_for_backward(x, weight, *options[:2], *kept)
        ctx.rows, ctx.training, ctx.eps, ctx.kernel = rows, options[2], options[4], kernel
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        x, weight, mean, variance, saved_mean, saved_deviation, reserve = ctx.saved_tensors
        of_x, of_weight, of_bias = _aten._batch_norm_impl_index_backward(
            ctx.kernel, x, gradient, weight, mean, variance, saved_mean, saved_deviation, ctx.training, ctx.eps, [True] * 3, reserve
        )
        of_x[ctx.rows :] = 0
        return of_x, of_weight, of_bias, None, None


class GradientRows(TorchFunctionMode):
    """While this lasts, the first `rows` images of a batch receive gradients, and the others are constants for every layer.

    All rows enter the statistics of batch normalisation, as they do without it. Left out is the gradient that reaches the others through
    those statistics, and with it the work of differentiating their convolutions. Networks need not know of it; other layers must treat
    images one by one.

    Parameters
    ----------
    rows : int
        How many, from the first.
    """

    def __init__(self, rows: int):
        super().__init__()
        self.rows = rows

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.conv2d:
            x, weight, bias, stride, padding, dilation, groups = args
            if torch.is_autocast_enabled(x.device.type):
                dtype = torch.get_autocast_dtype(x.device.type)
                x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
            return _Convolution.apply(x, weight, bias, self.rows, (list(stride), list(padding), list(dilation), groups))
        if function is torch.batch_norm:
            x, weight, bias, *options = args
            return _Normalisation.apply(x, weight, bias, self.rows, tuple(options))
        return function(*args, **(kwargs or {}))
