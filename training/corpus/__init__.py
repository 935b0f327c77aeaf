"""From conversations in files to packed arrays on disk. Knows texts and token ids, nothing of models or training."""
