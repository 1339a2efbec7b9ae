"""The HTTP API: a thin layer of remote procedure calls over the functions of `sql/`."""
