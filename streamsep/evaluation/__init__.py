"""Measures of separation, and their application to whole songs."""
