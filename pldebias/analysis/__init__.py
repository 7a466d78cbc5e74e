"""Reading side: metrics, what-if relabelling, embeddings and comparisons of recorded runs."""

from pldebias._deprecate import moved

_COMPARING = ("compare", "measures", "published", "render", "selection", "spread", "sweeps", "tables")
_RELABELLING = ("blending", "changes", "confidence", "counterpart", "estimate", "outputs", "relabelled", "whatif")

__getattr__ = moved(
    __name__,
    {
        "chain": f"{__name__}.embedding.frames",
        "metrics": "pldebias.metrics",
        **{name: f"{__name__}.comparing.{name}" for name in _COMPARING},
        **{name: f"{__name__}.relabelling.{name}" for name in _RELABELLING},
    },
)
