"""What methods cost on this machine, the real models at full size included: `python -m experiments.bench`."""
