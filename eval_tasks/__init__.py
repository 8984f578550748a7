"""Evaluation: lighteval tasks and backends, ShopBench's scorer, and reports that compare models."""
