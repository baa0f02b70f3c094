"""Reading an encoder: which codes its languages use, what its layers know, how far its attention looks."""
