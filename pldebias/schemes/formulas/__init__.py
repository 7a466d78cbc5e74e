"""Formulas that several papers share, and the long ones of one paper: functions on tensors, and queues with a state."""
