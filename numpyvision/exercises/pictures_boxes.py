"""Pictures for the exercises about boxes, losses and metrics: `NAME(figure, function)`; the function may be a student's."""
import numpy as np


def box_iou(figure, function):
    """A box that slides over another, and the IoU that this gives."""
    still, x = np.array([[0., 0, 4, 4]]), np.linspace(-5, 5, 101)
    moving = np.stack([x, 0 * x + 1, x + 4, 0 * x + 5], 1)
    left, right = figure.subplots(1, 2)
    for box, colour in ((still[0], "C0"), (moving[70], "C1")):
        left.fill(box[[0, 2, 2, 0]], box[[1, 1, 3, 3]], alpha=0.4, color=colour)
    left.set(aspect="equal", title="the orange box slides past the blue one", xlim=(-5, 9))
    left.invert_yaxis()
    right.plot(x, function(moving, still)[:, 0])
    right.set(xlabel="x1 of the orange box", ylabel="IoU", ylim=(0, 1), title="box_iou")
