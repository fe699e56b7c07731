"""Training: from pairs of patches to a checkpoint, self-supervised or supervised, by one protocol.

This package holds the training loop, the gathering of batches over processes, the learning rate
schedule, and the logged measures of collapse and divergence. Training never uses the test patches
of a probe. Objectives never deal with processes.
"""
