"""The SQL that the API speaks: one method for each function of `sql/`."""
