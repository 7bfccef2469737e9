"""Geometry without gradients: what chooses, matches and measures boxes and masks. What comes out enters a loss as a constant."""
