"""How good an embedded model is: a checker of pictures, and the model cards."""
