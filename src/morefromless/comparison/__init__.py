"""The comparison: what did the privileged modality buy?

`plan` lists the runs, `execute` trains those that are not done, `results` evaluates them and
contrasts the arms, and `compare` does all of it and writes the table and the figures.
"""
