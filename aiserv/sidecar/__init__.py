"""The sidecar of an AI server: shows what its GPUs, containers and model servers are doing."""
