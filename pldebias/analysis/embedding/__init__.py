"""Features of a run over its snapshots, in the plane."""

from pldebias.analysis.embedding.embedding import FLIPS, Embedding, embed, purity, sample, trustworthiness
from pldebias.analysis.embedding.frames import align, pca_frames

__all__ = ["FLIPS", "Embedding", "align", "embed", "pca_frames", "purity", "sample", "trustworthiness"]
