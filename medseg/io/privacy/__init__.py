"""Names, values and UIDs that could identify a patient: hidden, or replaced by pseudonyms with a secret key."""
