"""Evaluation on frozen features: features, probe, metrics, intervals, paired tests, floors.

The evaluation does not depend on how an encoder was trained. `evaluate` predicts from frozen
features with a probe, and `metrics` computes scores from probabilities. `intervals` and `paired`
compute confidence intervals and tests. `floors` are baselines without representation learning.
"""
