"""The words of the embedded models' world: synonyms of attributes, and the templates of captions.

Words in `RARE` are held out from picture training: only the text encoders meet them, as a language model knows words
that its image model never saw.
"""

COMMON = {
    "large": ("large", "big"),
    "small": ("small", "little"),
    "striped": ("striped",),
    "dotted": ("dotted", "spotted"),
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
}
RARE = {
    "large": ("huge", "giant"),
    "small": ("tiny",),
    "striped": ("stripy",),
    "dotted": ("speckled",),
    "red": ("scarlet", "crimson"),
    "yellow": ("golden",),
    "green": ("emerald",),
    "blue": ("azure",),
    "purple": ("violet",),
    "white": ("snowy",),
    "ring": ("hoop",),
    "diamond": ("rhombus",),
}
PLACES = {
    "night": ("on a night sky", "at night", "on a starry sky"),
    "meadow": ("on a meadow", "in a meadow", "on the grass"),
    "sea": ("at sea", "over the sea", "on the water"),
    "sand": ("on the sand", "at the beach", "in the desert"),
    "gray": ("on a plain gray background", "on gray", "on a gray wall"),
    "dusk": ("at dusk", "at sunset", "on an evening sky"),
}
MOVES = {
    "still": ("standing still", "not moving"),
    "left": ("moving left", "moving to the left"),
    "right": ("moving right", "moving to the right"),
    "up": ("moving up", "rising"),
    "down": ("moving down", "sinking"),
    "growing": ("growing", "getting larger"),
    "shrinking": ("shrinking", "getting smaller"),
    "spinning": ("spinning", "turning"),
}
CORNERS = {
    (0, 0): ("in the top left corner", "at the top left"),
    (0, 1): ("at the top", "in the top middle"),
    (0, 2): ("in the top right corner", "at the top right"),
    (1, 0): ("on the left", "on the left side"),
    (1, 1): ("in the middle", "in the centre", ""),
    (1, 2): ("on the right", "on the right side"),
    (2, 0): ("in the bottom left corner", "at the bottom left"),
    (2, 1): ("at the bottom", "in the bottom middle"),
    (2, 2): ("in the bottom right corner", "at the bottom right"),
}
BESIDE = (
    "{a} to the left of {b}",
    "{b} to the right of {a}",
    "{a} on the left and {b} on the right",
    "{a} and {b} side by side",
    "{a} next to {b}",
    "{a} and {b}",
)
ABOVE = ("{a} above {b}", "{b} below {a}", "{b} under {a}", "{a} at the top and {b} at the bottom", "{a} on top of {b}")
ROW = ("{a}, {b} and {c}", "{a}, {b} and {c} in a row", "{a}, then {b}, then {c}")
ALIKE = {
    "beside": ("two {s} side by side", "two {s} next to each other", "two {s}", "a pair of {s}"),
    "above": ("two {s} one above the other", "two {s} on top of each other"),
    "row": ("three {s} in a row", "three {s} side by side", "three {s}"),
}
OPENINGS = ("", "", "", "", "a picture of ", "a drawing of ")
