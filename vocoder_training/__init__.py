"""Training of vocoders: recordings, losses, discriminators, steps. `train_vocoder.py` is its command line."""
