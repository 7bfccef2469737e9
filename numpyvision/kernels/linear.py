"""Matrix products with the loops of `product.py` and `product_dw.py`, for fully connected layers.

NumPy's own product (OpenBLAS) is as fast by itself, but it keeps threads of its own, which go on spinning for a while after each product
and take the cores from the loops of the next layer: a training step of Faster R-CNN took twice as long with them. So the compiled path
of a network calls no BLAS at all.

Shapes here: A (M, K), B (K, J), all products (M, J).
"""
from functools import lru_cache

import numpy as np

from numpyvision.kernels import product, product_dw, vector
from numpyvision.kernels.jit import num_threads

PIECE = 256     # columns: of rows thousands of numbers apart, the cache keeps fewer than of a matrix that lies together


def matmul(A, B):
    """A (M, K) @ B (K, J) -> (M, J), C-contiguous arrays of one dtype."""
    return _product(A.reshape(-1), 1, len(A), B)


def matmul_at(A, B):
    """A^T @ B for A (K, M), B (K, J) -> (M, J), without turning A."""
    return _product(A.reshape(-1), A.shape[1], A.shape[1], B)


def matmul_bt(A, B):
    """A @ B^T for A (M, K), B (J, K) -> (M, J), without turning B: inner products of rows with rows."""
    (M, K), J = A.shape, len(B)
    if not M * K * J:
        return np.zeros((M, J), A.dtype)
    depth = PIECE if K % PIECE == 0 else K
    pieces = np.ascontiguousarray(A.reshape(M, K // depth, depth).swapaxes(0, 1))     # as images of `depth` pixels, one after the other
    return product_dw.products_of_runs(pieces, B.reshape(-1, 1, depth), _plan_bt(M, K, J, depth, vector.lanes(A.dtype), num_threads()))


def _product(A, step, M, B):
    """B's rows are the channels of one image, a pixel for each column; A's the filters, one number a tap."""
    K, J = B.shape
    out = np.empty((1, M, 1, J), B.dtype)
    if out.size:
        product.sums_of_runs(B[None], A, None, out, _plan(M, K, J, step, vector.lanes(B.dtype), num_threads()))
    return out[0, :, 0]


@lru_cache(maxsize=256)
def _plan(M, K, J, step, lanes, threads):
    products = (product.Product(1, J, M, 0, 0, K, 0, 1),)
    return product.plan_sums((1, K, J), (1, M, 1, J), lanes, threads, product.steps(K, J), products, product.steps(M, J), 1, J, step=step)


@lru_cache(maxsize=256)
def _plan_bt(M, K, J, depth, lanes, threads):
    d_shape, x_shape = (K // depth, M, depth), (J * K // depth, 1, depth)
    return product_dw.plan_products(d_shape, x_shape, lanes, threads, product.steps(J, K), 1, depth)
