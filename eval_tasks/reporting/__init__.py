"""What came of an evaluation: scores with intervals, as a table, a plot and a page."""
