"""Reports of an evaluation: scores with confidence intervals, as a table, a plot and a page."""
