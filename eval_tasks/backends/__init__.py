"""How a model is asked: prompts, backends, fast generation, and answers that are kept."""
