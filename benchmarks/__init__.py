"""What `benchmark.py` measures: inputs, timings in units of a calibration, one table, plots of how costs grow."""
