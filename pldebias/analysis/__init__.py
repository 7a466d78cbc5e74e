"""Reading side: metrics, what-if relabelling, embeddings and comparisons of recorded runs."""

from pldebias._deprecate import moved

_RELABELLING = ("blending", "changes", "confidence", "counterpart", "estimate", "outputs", "relabelled", "whatif")

__getattr__ = moved(__name__, {name: f"{__name__}.relabelling.{name}" for name in _RELABELLING})
