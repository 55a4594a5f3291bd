"""Training sets: rows as they were served, features as of that moment, labels after their window, one hash over all."""
