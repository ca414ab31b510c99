"""FiftyOne's Brain and zoo over a store: the backend's parts, its model, export."""
