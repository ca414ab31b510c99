"""The small Alpha-CLIP that this project trains and ships: configuration, merges, weights, card."""
