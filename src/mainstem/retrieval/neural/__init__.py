"""Retrieval models that learn by gradient: the only retrieval modules that may import torch."""
