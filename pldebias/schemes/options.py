"""Types of options that many parts have. A part refuses a value outside the range (`pldebias.settings.within`)."""

from typing import Annotated

from pldebias.settings import Range

Threshold = Annotated[float, Range("(0, 1]", "the confidence a pseudo-label needs")]
Momentum = Annotated[float, Range("[0, 1)", "0.999 averages over about 1,000 steps")]
Share = Annotated[float, Range("[0, 1]")]
Start = Annotated[float, Range("[0, 1)", "the part of the training before it begins")]
Ramp = Annotated[float, Range("[0, 1]", "the part of the training over which the loss grows")]
Positive = Annotated[float, Range("(0, inf)")]
NotNegative = Annotated[float, Range("[0, inf)")]
Count = Annotated[int, Range("[1, inf)")]
