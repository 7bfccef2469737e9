"""Checks that anyone may call: of arguments, of a gradient, of a whole operation or layer. Tests, exercises and users share them."""
from numpyvision.check.arguments import array, int_pair, integer_array, positive_int, require, same_dtype

__all__ = ["array", "int_pair", "integer_array", "positive_int", "require", "same_dtype"]
