"""Asking a language model for labels: what is asked (asks), where answers lie (replies), how they are got (endpoint, batch)."""
