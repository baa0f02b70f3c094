"""N-gram language models: text in, scorer out."""
