"""Many arrays, cut into pieces of about equal work, so that one compiled call updates them all on all threads.

Shapes here: K pieces of at most PIECE numbers, from arrays of any shape and of one dtype.
"""
import numpy as np

PIECE = 16384                           # numbers: 64 KB of float32


class Pieces:
    """Parameters of one dtype and the state beside them, as addresses in memory.

    names: of the parameters. columns: the parameters in that order, then each slot's arrays. Addresses are true as long as these very
    arrays live, so this object keeps them alive, and `fits` must say so before every use.
    """

    def __init__(self, names, columns):
        self.names, self.columns = names, columns
        self.dtype = columns[0][0].dtype
        sizes = [p.size for p in columns[0]]
        number = [-(-size // PIECE) for size in sizes]                                       # pieces of each array; an empty one has none
        self.array = np.repeat(np.arange(len(sizes)), number)                                # (K,) which array a piece is cut from
        starts = np.concatenate([np.arange(0, size, PIECE) for size in sizes])
        self.counts = np.minimum(PIECE, np.array(sizes)[self.array] - starts).astype(np.int64)
        self.offsets = starts * self.dtype.itemsize
        self.fixed = np.stack([self._begins(arrays) for arrays in columns])
        self.is_1d = np.array([p.ndim <= 1 for p in columns[0]])[self.array]

    def fits(self, columns):
        """Are these the very arrays whose addresses are known?"""
        return all(a is b for mine, theirs in zip(self.columns, columns, strict=True) for a, b in zip(mine, theirs, strict=True))

    def addresses(self, grads):
        """(2 + slots, K): where every piece of p, of g and of the state begins. grads: C-contiguous, in the order of names."""
        return np.concatenate([self.fixed[:1], self._begins(grads)[None], self.fixed[1:]])

    def _begins(self, arrays):
        return np.array([a.ctypes.data for a in arrays], np.int64)[self.array] + self.offsets
