"""HTTP below the API: an application on a port, its connections, and its end."""
