"""Programs for CUDA devices alone: the step as a CUDA graph, and the augmentation as a Triton kernel.

Nothing imports this room at start: `training.program` and `data.pixel` load it where a training uses a CUDA device.
"""
