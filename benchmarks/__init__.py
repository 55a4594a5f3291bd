"""Speed, each figure beside a bound or a peer measured in the same run. ``make bench`` runs all of it."""
