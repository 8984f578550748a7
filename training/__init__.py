"""LoRA fine-tuning: the recipe, the merge, and a small real model for machines without a network."""
