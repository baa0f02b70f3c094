"""peer.py is another Python's: it imports fairseq2."""

collect_ignore = ["peer.py"]
