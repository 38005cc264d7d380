"""Networks that are guided by histograms, clicks and guide maps."""
