"""Where each mistake usually sits in the code: the last sentence of a diagnosis."""

HINTS = {
    "ignores-dout": "Multiply by dout (the chain rule), also where it is a single number: a loss's weight.",
    "zero-gradient": "Is the array filled that was made with zeros, and is it this one that is returned?",
    "sign": "Look for a subtraction the wrong way round, or a lost minus, on the line that makes it.",
    "constant-factor": "Look for a mean where a sum belongs, a forgotten or doubled scale, or a factor of the local slope left out.",
    "swapped-gradients": "Compare the order of the return line with that of forward's arguments.",
    "flipped-kernel": "Look at the order in which taps or outputs are walked through, and for a [::-1] too many or too few.",
    "transposed-axes": "Look for a missing .T or swapaxes, a reshape without its transpose, and h and w in the wrong order.",
    "shifted": "Look at the offset: the padding that must be trimmed, a +1, half a pixel, the first index of a slice.",
    "border": "Look at how padding, clipping and the ends of ranges are handled.",
    "batch-leak": "Keep the image index through the whole backward: no mean over the batch, no batch index left out.",
    "missing-sum": "Sum over every axis along which it was used in forward: images, rows, columns, channels.",
    "missing-accumulation": "Use += into zeros, and where an index may repeat np.add.at instead of dx[index] += ...",
    "double-counted": "Look for a term that is added twice, and for outputs that did not come from this element.",
    "missing-path": "List every place where forward used it (statistics, sizes, both branches); the gradients of all of them add up.",
    "wrong-routing": "Look at the mask or the index that says which element an output was read from; it must be forward's own.",
    "unknown": "No known pattern fits; derive the gradient at this one element by hand.",
}
