"""Deep Speaker (Li et al. 2017, arXiv 1705.02304): 512-d speaker embeddings from the published Keras weights."""

from deepspeaker.embedder import PUBLISHED_WEIGHTS, SpeakerEmbedder

__all__ = ["PUBLISHED_WEIGHTS", "SpeakerEmbedder"]
