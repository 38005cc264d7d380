"""Parts of the study of guided networks: cases, guidance, nets, training, tests, records and report."""
