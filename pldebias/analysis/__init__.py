"""Reading side: metrics, what-if relabelling, embeddings and comparisons of recorded runs."""
