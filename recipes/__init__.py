"""One readable script per training or scoring task; run from a checkout as ``python -m recipes.NAME``."""
