"""What can be in a picture, how it is drawn and how it is captioned, and the prompt suites."""
