"""A report of runs to look at: one static folder that opens from file://."""
