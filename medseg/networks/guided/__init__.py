"""Networks guided by histograms, clicks and guide maps."""
