"""Parts of the classification study: data, rows, network, training, statistics and report."""
