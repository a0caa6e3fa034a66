"""Where methods meet the blocks of a denoiser. Instance overrides only; the velocity seam is in meancache.session."""
