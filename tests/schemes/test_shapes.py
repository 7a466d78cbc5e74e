"""Shapes and kinds that the shared formulas state: kept on right arguments, refused on wrong ones."""

from importlib import import_module

import pytest
import torch
from beartype import beartype
from jaxtyping import TypeCheckError, jaxtyped

N, K, D = 6, 3, 4
LOGITS, PROBS = torch.randn(N, K, generator=torch.Generator().manual_seed(0)), torch.full((N, K), 1 / K)
PRIOR, COUNTS, LABELS = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([50, 30, 20]), torch.tensor([0, 1, 2, 0, 1, 2])
FEATURES, PROTOTYPES = torch.ones(N, D), torch.ones(K, D)


CALLS = {
    "adjustment.adjust": (LOGITS, PRIOR),
    "adjustment.posthoc": (LOGITS, PRIOR),
    "alignment.temper": (PRIOR, 0.5),
    "alignment.align": (PROBS, PRIOR, PRIOR),
    "effective_number.effective_weights": (COUNTS,),
    "losses.masked_cross_entropy": (LOGITS.repeat(2, 1), LABELS, torch.ones(N)),
    "offsets.refine": (LOGITS, PRIOR),
    "offsets.rank_groups": (COUNTS, 2),
    "offsets.balanced_nll": (LOGITS, LABELS, PRIOR),
    "offsets.learn_offsets": (LOGITS, LABELS),
    "priors.update_prior": (PRIOR, PROBS, 0.9),
    "priors.log_ratio": (PRIOR, PRIOR),
    "queue.cosine": (FEATURES, PROTOTYPES),
    "refinery.refine": (PROBS, PRIOR * N),
    "refinery.select": (PROBS, PRIOR * N),
    "thresholds.learn_thresholds": (LOGITS, LABELS, 0.9, 3),
    "thresholds.rare_classes": (LOGITS, LABELS, 3),
}


def checked(name: str):
    """A formula that checks every call by its annotations."""
    module, _, function = name.partition(".")
    return jaxtyped(typechecker=beartype)(getattr(import_module(f"pldebias.schemes.formulas.{module}"), function))


@pytest.mark.parametrize("name", CALLS)
def test_right_shapes_are_taken_and_returned(name):
    checked(name)(*CALLS[name])


@pytest.mark.parametrize("name", CALLS)
def test_wrong_shapes_are_refused(name):
    first, *rest = CALLS[name]
    with pytest.raises(TypeCheckError):
        checked(name)(first[None], *rest)
