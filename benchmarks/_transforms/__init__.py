"""The comparisons of the benchmark of transforms, by what the transforms do."""
