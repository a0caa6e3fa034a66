"""The parts of each embedded model, built with the real classes at small sizes."""
