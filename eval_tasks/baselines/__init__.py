"""What a language model has to beat, learnt from the rows to train on."""
