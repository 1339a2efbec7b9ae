"""The providers: what each of them is asked over HTTP, and what its answers mean."""
