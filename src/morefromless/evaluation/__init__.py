"""Evaluation on frozen features: features, probe, metrics, intervals, paired tests, floors.

Nothing here knows how an encoder was trained. `evaluate` asks frozen features through a probe,
`metrics` turns probabilities into scores, `intervals` and `paired` say how much of a score is
chance, and `floors` says how much of it needs no learning at all.
"""
