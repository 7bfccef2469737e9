"""What a check can say about a function: one code and what it means. The order is that of looking: what is found first hides the rest.

A code names what the numbers show, not which line is to blame: the message adds the numbers and where such a mistake usually sits.
"""

DIAGNOSES = {
    "ok": "every gradient agrees with finite differences",
    "not-implemented": "the function raises NotImplementedError, or returns None: it is still to be written",
    "raises": "the function stops with an exception",
    "wrong-shape": "an output or gradient is missing, or has another shape than it owes",
    "wrong-dtype": "an output or gradient has another dtype than the inputs (float32 in, float32 out)",
    "not-finite": "an output or gradient holds NaN or infinity",
    "mutates-input": "the function writes into an array that it was given: an input, dout or the cache",
    "nondeterministic": "the same call twice gives two results",
    "wrong-forward": "forward's output differs from the reference's",
    "ignores-dout": "the gradient, or a part of it, does not scale with dout",
    "zero-gradient": "the gradient is zero everywhere where it should not be",
    "sign": "right but for the sign, everywhere or in one part",
    "constant-factor": "right but for a factor that does not depend on dout: one number, one a channel, or a forgotten local slope",
    "swapped-gradients": "two inputs' gradients are returned in the wrong order",
    "flipped-kernel": "right numbers, but an axis runs backwards: a kernel was rotated that should not be, or the other way round",
    "transposed-axes": "right numbers, but two axes are exchanged (height and width, say), or a reshape forgot its transpose",
    "shifted": "right numbers, but some steps away along an axis (padding, offset, half a pixel)",
    "border": "right inside, wrong at the border of the image alone",
    "batch-leak": "gradient of one image lands on another",
    "missing-sum": "something used many times (bias, weight, gamma, a broadcast input) gets the gradient of one use instead of the sum",
    "missing-accumulation": "where windows overlap or an index repeats, one contribution survives, not the sum (= or fancy += for add.at)",
    "double-counted": "some contributions are added twice or more",
    "missing-path": "x reaches the output in several ways, and one of them is missing in the gradient",
    "wrong-routing": "the right amount of gradient, sent to the wrong elements",
    "kink": "the input sits on a corner of the function, where there is no one slope: move the input, the code is not to blame",
    "unknown": "wrong, and no known pattern",
}
