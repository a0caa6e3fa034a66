"""The methods MeanCache is compared with: one method, one file."""
