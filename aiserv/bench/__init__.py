"""`aiserv bench`: how fast jobs are created, picked up and worked off on a given PostgreSQL."""
