"""How numba compiles this project's kernels: machine code is made of what Python calls, and of nothing else.

numba makes a library of every function: it optimises it and translates it into machine code before it links it into its callers, which
are optimised and translated in their turn. A parallel loop is four of them, one around the other, and each function that it calls one
more. Only the outermost ever runs. Here the others stay as they were written down, in LLVM's language, until that one is linked, optimised
and translated as a whole: code as fast, after two thirds of the time.

This reaches into numba, which may change inside: a version that it was never tried with compiles in its own way, slower and no worse.
"""
import re

import numba
from numba.core import codegen, compiler, environment

NEWEST = (0, 68)                                                      # numba that it was tried with; the oldest is pyproject.toml's


def pipeline(version=numba.__version__):
    """The way to compile a kernel, for numba's `pipeline_class`."""
    return Compiler if tuple(map(int, re.findall(r"\d+", version)[:2])) <= NEWEST else compiler.Compiler


class Library(codegen.JITCodeLibrary):
    """One that is put off: linked into its callers, but neither optimised nor translated before somebody asks for its address."""
    is_wanted = False

    def _optimize_final_module(self):
        if self.is_wanted:
            super()._optimize_final_module()

    def _finalize_final_module(self):
        if self.is_wanted:
            super()._finalize_final_module()
        self._finalized = True

    def get_pointer_to_function(self, name):
        self._ensure_finalized()
        if self.name.startswith("__numba_parfor"):                    # a loop's body, which numba makes callable; nobody calls it
            return 0
        if not self.is_wanted and any(function.name == name for function in self.get_defined_functions()):
            self._translate()
        return super().get_pointer_to_function(name)

    def _translate(self):
        self.is_wanted = True
        self._optimize_final_module()
        self._finalize_final_module()
        for variable in self._final_module.global_variables:          # where each function finds its constants, the inner ones too
            constants = environment.lookup_environment(variable.name)
            if constants is not None:
                self._codegen.set_env(variable.name, constants)

    def _set_compiled_object(self, value):                            # it comes from disk
        self.is_wanted = True
        super()._set_compiled_object(value)


class Codegen(codegen.JITCPUCodegen):
    _library_class = Library

    def set_env(self, env_name, env):
        if self._engine.is_symbol_defined(env_name):                  # else it is set by the library that is translated
            super().set_env(env_name, env)


class Compiler(compiler.Compiler):
    """numba's, whose libraries are put off."""

    def compile_extra(self, func):
        made_by = self.state.targetctx.codegen()                      # one for all of numba: other people's functions compile as ever
        kept = made_by.__class__
        made_by.__class__ = Codegen
        try:
            return super().compile_extra(func)
        finally:
            made_by.__class__ = kept
