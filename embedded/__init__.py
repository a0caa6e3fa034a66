"""The embedded models: the world they draw, their families, training and judging; commands lie at the top."""
