"""Speech translation: optimal transport between speech and text, models, cascades, scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from st.translate import TranslateConfig, Translator

__all__ = ["TranslateConfig", "Translator"]


def __getattr__(name: str) -> Any:
    # `import st`, and with it `loquela --help`, must not wait for torch.
    if name not in __all__:
        raise AttributeError(f"module 'st' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("st.translate"), name)
