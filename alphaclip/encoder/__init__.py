"""Encoders: pictures and regions in, unit vectors out; and how one is loaded by name."""
