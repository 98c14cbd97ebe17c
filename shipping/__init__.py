"""What stands behind export.py: a checkpoint becomes a folder that speaks by itself (its layout: utils/shipped.py)."""
