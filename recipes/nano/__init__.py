"""How ``alphaclip-nano`` is made; not installed."""
