"""`mfl reproduce`: experiments planned together, trained once, and set beside the paper.

OUT/plan.json            which experiments and runs, on which data, by which versions and machine
OUT/runs/                every run, named after what determines it, so that studies share them
OUT/STUDY/               tables and figures of one comparison, as `mfl compare` writes them
OUT/experiments/*.json   the numbers of each experiment, ours beside the published ones
OUT/energy.jsonl         what the machine used, where it tells
OUT/report/              figures that the report draws
OUT/report.html, .md     all of it on one page (`mfl report OUT`), from these files alone
"""
