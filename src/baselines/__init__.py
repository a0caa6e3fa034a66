"""The methods MeanCache is compared with, one file each, and what they share."""
