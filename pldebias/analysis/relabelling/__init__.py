"""What-if: the recorded outputs of a run, relabelled by another method or with other thresholds and priors."""
