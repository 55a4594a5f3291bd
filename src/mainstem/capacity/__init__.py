"""Capacity: what inference, training and data cost week by week while two stacks run beside each other."""
