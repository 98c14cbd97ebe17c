"""Text, speaker and emotion in, waveform and its description out. `synthesize.py` is its command line."""
