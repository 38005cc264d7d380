"""Parts of `benchmarks.network_memory`."""
