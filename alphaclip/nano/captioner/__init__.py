"""The captioner that reads nano's vectors: weights and card."""
