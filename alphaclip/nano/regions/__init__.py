"""The weights that ``alphaclip-nano+regions`` has beyond nano's own."""
