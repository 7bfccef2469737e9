"""What every model does to its images first."""
MEAN, SPREAD = 0.5, 0.25      # of the pixels of an everyday picture, roughly: the first convolution sees numbers around 0 and of size 1


def centre(images):
    """RGB in [0, 1] -> about zero mean and unit spread. Its backward divides by SPREAD."""
    centred = images - images.dtype.type(MEAN)
    centred *= images.dtype.type(1 / SPREAD)
    return centred
