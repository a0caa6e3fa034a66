"""The stages of a run: calibrate, plan, generate, evaluate, tabulate. Thin: the work is in meancache and eval."""
