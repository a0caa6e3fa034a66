"""Architectures of the real models at full size, and the rows of what is computed with them."""
