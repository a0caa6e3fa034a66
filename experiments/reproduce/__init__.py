"""The paper's tables, figures and claims on models of your choice: `python -m experiments.reproduce all`."""
