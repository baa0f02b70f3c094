"""Published MT models, NLLB-200, M2M-100, mBART-50 and Marian: the only part of `st` that knows transformers."""
