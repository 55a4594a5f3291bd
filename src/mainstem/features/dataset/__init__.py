"""Training sets: rows as they were served, features as of that moment, labels after their window, one hash over all.

``build`` makes one, ``open_dataset`` opens it when it is whole, ``LabelRule`` says what a success is.
"""
