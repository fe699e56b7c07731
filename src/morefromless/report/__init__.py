"""Reports: tables, figures and pages of results and their uncertainty."""
