"""Training: processes, state, steps, validation, samples. `train.py` is its command line."""
