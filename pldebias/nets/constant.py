"""Rows of a batch that shape its normalisation and receive no gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _Convolution(torch.autograd.Function):
    """A convolution that is differentiated for its first `rows` images alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, rows: int, options: tuple) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.rows, ctx.options, ctx.bias = rows, options, None if bias is None else [len(bias)]
        return torch.conv2d(x, weight, bias, *options)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x, weight), rows, (stride, padding, dilation, groups) = ctx.saved_tensors, ctx.rows, ctx.options
        # Of the core ATen operators, which torch documents and keeps.
        of_rows, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient[:rows], x[:rows], weight, ctx.bias, stride, padding, dilation, False, [0, 0], groups, list(ctx.needs_input_grad[:3])
        )
        if not ctx.needs_input_grad[0]:
            return None, of_weight, of_bias, None, None
        of_x = torch.empty_like(x)
        of_x[:rows], of_x[rows:] = of_rows, 0
        return of_x, of_weight, of_bias, None, None


class _Constant(torch.autograd.Function):
    """The same tensor, whose gradient reaches its first `rows` images alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: int) -> Tensor:
        ctx.rows = rows
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradient[ctx.rows :] = 0  # in place: the normalisation made it for this function alone
        return gradient, None


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
            args = (_Constant.apply(args[0], self.rows), *args[1:])
        return function(*args, **(kwargs or {}))
