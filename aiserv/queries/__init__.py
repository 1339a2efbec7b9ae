"""The SQL of aiserv in Python: one method for each function of `sql/`."""
