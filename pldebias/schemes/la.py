"""Logit adjustment: add or subtract the log of a class prior.

References
----------
Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from pldebias.schemes.base import Network, Problem, Scheme, Step
from pldebias.schemes.formulas.adjustment import adjust, posthoc
from pldebias.schemes.part import Button, Slider


class LA(Scheme):
    """Logit adjustment by the labelled class frequencies.

    Parameters
    ----------
    tau : float, default 1.0
        Strength of the adjustment.
    at : {"train", "posthoc", "pseudo"}, default "train"
        ``train`` adds ``tau * log prior`` to the labelled loss, which is what DASO's tables call LA; ``posthoc`` subtracts it at
        test time; ``pseudo`` subtracts it from the weak-view logits that become pseudo-labels (SEVAL's FixMatch-LA).
    """

    name = "la"
    estimated = ()
    buttons = (Button("logit adjustment", "la(at=pseudo,tau=1.0)"),)
    controls = (Slider("tau", 0.0, 2.0, 0.05),)
    prior_buffer = "prior"
    given_series = ("prior",)
    unseen_hint = "la(at=pseudo) adjusts pseudo-labels"

    def __init__(self, tau: float = 1.0, at: Literal["train", "posthoc", "pseudo"] = "train"):
        super().__init__()
        acts_on = {"train": "labelled", "posthoc": "prediction", "pseudo": "pseudo_label"}
        self.tau, self.at = tau, at
        self.acts_on = frozenset({acts_on[at]})
        self.prior_buffer = "prior" if at == "pseudo" else None

    def setup(self, problem: Problem) -> None:
        self.register_buffer("prior", problem.prior)

    def labelled(self, logits: Tensor, step: Step) -> Tensor:
        return adjust(logits, self.prior, self.tau) if self.at == "train" else logits

    def refine(self, logits: Tensor, step: Step) -> Tensor:
        return posthoc(logits, self.prior, self.tau) if self.at == "pseudo" else logits

    def predict(self, logits: Tensor, features: Tensor, network: Network) -> Tensor:
        return posthoc(logits, self.prior, self.tau) if self.at == "posthoc" else logits

    def series(self) -> dict[str, Tensor]:
        return {"prior": self.prior}
