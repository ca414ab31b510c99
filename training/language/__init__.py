"""Language models on regions: trained, and judged by what they say."""
