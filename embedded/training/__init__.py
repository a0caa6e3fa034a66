"""Training from nothing: text encoders, VAE, denoiser, export."""
