"""Speech translation: optimal transport between speech and text, models, cascades, scores."""
