"""RGBA region-text pairs, fine-tuning of the encoder, and what says whether it helped."""
