"""How ``alphaclip-nano-captioner`` is made; not installed."""
