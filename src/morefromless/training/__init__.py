"""Training: from pairs of patches to a checkpoint, self-supervised or with labels, one protocol.

Everything that a run needs beside its branches is here: the batch gathered over processes, the
learning rate's schedule, and the signs of collapse and divergence that are logged. Training never
sees a probe's test patches; objectives never see processes.
"""
