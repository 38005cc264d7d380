"""Names, values and UIDs that could identify a patient: hidden, or replaced by keyed pseudonyms."""
