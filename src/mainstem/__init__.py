"""Two live ranking stacks made into one recommendation platform, on measured evidence."""
