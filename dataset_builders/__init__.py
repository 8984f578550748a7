"""From raw e-commerce corpora, or a shop's own tables, to a multitask instruction dataset."""
