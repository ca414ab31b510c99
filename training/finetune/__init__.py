"""Fine-tuning a CLIP's image encoder on pairs of a region and a text (Alpha-CLIP's recipe)."""
