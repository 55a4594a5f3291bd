"""Public tables, printed again: protocols, our models, and peers from the registry on the same split in the same run."""
