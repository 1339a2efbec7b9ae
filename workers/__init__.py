"""The hands of aiserv: workers that claim jobs, have them executed, and settle them."""
