"""Evaluation: lighteval tasks, the ShopBench scorer, and the table that sets models side by side."""
