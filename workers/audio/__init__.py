"""Recordings: where they come from, how they are decoded, and where they are cut."""
