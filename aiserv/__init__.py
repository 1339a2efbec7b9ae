"""aiserv: jobs for AI models, kept in PostgreSQL."""

__version__ = "0.1.0"
