"""What a feature is, said once: expressions, sources, aggregates and the plan made of them."""
