"""Workers: they claim jobs, have them executed, and settle them."""
