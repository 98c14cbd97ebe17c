"""Figures about a trained model. `evaluate.py` is its command line."""
