"""Checks that anyone may call: of arguments, of a gradient, of a whole operation or layer. Tests, exercises and users share them."""
from numpyvision.check.arguments import array, int_pair, integer_array, positive_int, require, same_dtype
from numpyvision.check.boxes import assert_is_boxes
from numpyvision.check.codes import DIAGNOSES
from numpyvision.check.gradcheck import adjoint_check, gradcheck
from numpyvision.check.layer import check_layer, check_model
from numpyvision.check.operation import check_op
from numpyvision.check.patterns import compare
from numpyvision.check.report import Contract, Report

__all__ = ["DIAGNOSES", "Contract", "Report", "adjoint_check", "array", "assert_is_boxes", "check_layer", "check_model", "check_op",
           "compare", "gradcheck", "int_pair", "integer_array", "positive_int", "require", "same_dtype"]
