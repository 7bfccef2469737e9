"""Letters to compute with: the operations run on them as on numbers, and the result prints as the slides write it, `az + bx`.

    x, w = symbols("a b").reshape(1, 1, 2), symbols("x y z").reshape(1, 1, 3)
    out, _ = conv1d.conv_transpose1d_forward(x, w, stride=2)
    print(out[0, 0])                                            # [ax ay az + bx by bz]      (L16-V05)

Such an array has dtype object, so every operation takes its readable body. A sum of products of letters is kept in one normal form, so
that two expressions are equal if they are the same polynomial, whatever order they were computed in. Zeros are the int 0.
"""
import numbers

import numpy as np


class Symbol:
    """A polynomial: {("a", "z"): 1, ("b", "x"): 2} is az + 2bx. Letters within a product and products within a sum are sorted."""

    def __init__(self, terms):
        """terms: one letter, or a dict from sorted tuples of letters to coefficients, () for the constant."""
        terms = {(terms,): 1} if isinstance(terms, str) else terms
        self.terms = {product: c for product, c in sorted(terms.items()) if c != 0}

    def __add__(self, other):
        other = polynomial(other)
        if other is NotImplemented:
            return other
        return Symbol({p: self.terms.get(p, 0) + other.terms.get(p, 0) for p in {**self.terms, **other.terms}})

    def __mul__(self, other):
        other = polynomial(other)
        if other is NotImplemented:
            return other
        result = {}
        for p, c in self.terms.items():
            for q, d in other.terms.items():
                product = tuple(sorted(p + q))
                result[product] = result.get(product, 0) + c * d
        return Symbol(result)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, number):
        return self * (1 / number)

    def __eq__(self, other):
        other = polynomial(other)
        return other if other is NotImplemented else self.terms == other.terms

    def __hash__(self):
        return hash(tuple(self.terms.items()))

    def __repr__(self):
        text = "".join(f" {'-' if c < 0 else '+'} {_product(abs(c), p)}" for p, c in self.terms.items())
        return ("-" if text.startswith(" -") else "") + text[3:] if text else "0"


def polynomial(value):
    """A Symbol as it is, a number as the constant polynomial, NotImplemented for anything else."""
    if isinstance(value, Symbol):
        return value
    return Symbol({(): value}) if isinstance(value, numbers.Number) else NotImplemented


def symbols(names):
    """An object array of letters: symbols("a b c") or symbols("abc") -> (3,)."""
    names = names.split() if " " in names.strip() else list(names.strip())
    array = np.empty(len(names), dtype=object)
    array[:] = [Symbol(name) for name in names]
    return array


def _product(coefficient, letters):
    number = f"{coefficient:g}" if isinstance(coefficient, float) else str(coefficient)
    return "".join(letters) if coefficient == 1 and letters else number + "".join(letters)
