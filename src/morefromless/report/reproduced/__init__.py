"""The report of a reproduction: what lies on disk is read, put into words, and written twice.

left.py           what `mfl reproduce` left; reading.py reads and checks it
content.py        what the page holds, in words, before it is HTML or Markdown
experiment.py     one experiment's part, of grid.py, contrasts.py, floors.py and plots.py
chance.py         how far chance goes, in the paper and here
departures.py     what differs from the paper, and whether columns may be compared, by what the
                  runs themselves say (used.py); conventions.py where text and code disagree
was_run.py        versions, data, hours, hardware, energy, every run
markdown.py       the page for GitHub; the other is report/pages/report.html.jinja
"""
