"""The nearest vectors: exact search, FAISS, and the cache of its index."""
