"""Whether the features a server logged are the ones recomputed offline, why not, and whether they drift."""
