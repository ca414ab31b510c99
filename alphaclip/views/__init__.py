"""How a region is shown to an encoder: view, background, and the pictures cut from it."""
