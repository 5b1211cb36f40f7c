"""`awfproxy doctor`: the way walked hop by hop, to name the first one that fails."""
