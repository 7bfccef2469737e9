"""Matrix products with the tile of `vector.py`, for fully connected layers.

NumPy's own product (OpenBLAS) is as fast by itself, but it keeps threads of its own, which go on spinning for a while after each product
and take the cores from the loops of the next layer: a training step of Faster R-CNN took twice as long with them. So the compiled path
of a network calls no BLAS at all.

Shapes here: A (M, K), B (K, J), all products (M, J).
"""
import numpy as np
from numba import prange

from numpyvision.kernels import vector
from numpyvision.kernels.jit import jit_parallel

ROWS, REGISTERS, multiply_tile = vector.ROWS, vector.REGISTERS, vector.multiply_tile


def matmul(A, B):
    """A (M, K) @ B (K, J) -> (M, J), C-contiguous arrays of one dtype."""
    return _product(_row_blocks(A), A.shape[0], B)


def matmul_at(A, B):
    """A^T @ B for A (K, M), B (K, J) -> (M, J), without turning A."""
    K, M = A.shape
    blocks = -(-M // ROWS)
    packed = A
    if M % ROWS:
        packed = np.zeros((K, blocks * ROWS), A.dtype)
        packed[:, :M] = A
    packed = packed.reshape(K, blocks, ROWS).swapaxes(0, 1)                   # (blocks, K, ROWS)
    return _product(np.ascontiguousarray(packed), M, B)


def matmul_bt(A, B):
    """A @ B^T for A (M, K), B (J, K) -> (M, J)."""
    return matmul(A, np.ascontiguousarray(B.T))


def _row_blocks(A):
    """ROWS rows of A side by side, as the tile reads them: (M, K) -> (blocks, K, ROWS), zeros where M ends early."""
    M, K = A.shape
    blocks = -(-M // ROWS)
    packed = A
    if M % ROWS:
        packed = np.zeros((blocks * ROWS, K), A.dtype)
        packed[:M] = A
    return np.ascontiguousarray(packed.reshape(blocks, ROWS, K).swapaxes(1, 2))


def _product(packed, M, B):
    (blocks, K, _), J = packed.shape, B.shape[1]
    tile = REGISTERS * vector.lanes(B.dtype)
    if J < tile:                                                              # narrower than one tile: fill up with zeros
        wide = np.zeros((K, tile), B.dtype)
        wide[:, :J] = B
        B = wide
    out = np.empty((blocks * ROWS, B.shape[1]), B.dtype)
    offsets = np.arange(K) * B.shape[1]
    _product_loop(packed.reshape(-1), B.reshape(-1), offsets, np.zeros(ROWS, B.dtype), out.reshape(-1), blocks, B.shape[1], tile)
    return np.ascontiguousarray(out[:M, :J])


@jit_parallel
def _product_loop(packed, B, offsets, zeros, out, blocks, J, tile):
    K, strips = len(offsets), -(-J // tile)
    for task in prange(blocks * strips):                                      # ROWS rows, one tile's width of columns
        block, strip = task % blocks, task // blocks
        column = min(strip * tile, J - tile)                                  # the last strip steps back, so as not to write beyond the end
        multiply_tile(packed, block * K * ROWS, B, column, offsets, zeros, 0, out, block * ROWS * J + column, J)
