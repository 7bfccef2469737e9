"""Does a layer, or a whole model with its losses, keep the law?

A layer may have a million parameters, and one random direction through all of them and the input tests every gradient with two forwards.
Only when that fails is each parameter looked at by itself, to name the one that is wrong.
"""
import copy
import inspect

import numpy as np

from numpyvision import tree
from numpyvision.cache import NoCache
from numpyvision.check import calls, difference, form
from numpyvision.check.calls import Stopped, argument_names, guarded
from numpyvision.check.form import well_formed
from numpyvision.check.gradcheck import examine, fixed_elements
from numpyvision.check.operation import differs, untouched, upstream
from numpyvision.check.report import SHAPE, Check, Contract, Report


def check_layer(layer, *inputs, rng, fixed=None, eps=1e-5, rtol=1e-6, title=None):
    """Run the contract on one layer -> Contract: names, shapes and dtypes of the gradients, purity, train=False, and the gradient itself.

    inputs: what forward takes, each an array or a tuple of arrays (pyramid levels); `fixed` {name: columns} must not move, see gradcheck.
    Everything happens on a float64 copy whose parameters are moved off their first values, because gamma = 1 and b = 0 hide a forgotten
    gamma or b; the layer itself is left alone.
    """
    subject = _Subject(layer, inputs, rng, fixed, eps, rtol)
    contract = Contract(title or type(layer).__name__)
    promises = [("runs", subject.runs), ("parameter names", subject.parameter_names), ("dtype kept", subject.dtype_kept),
                ("nothing written", subject.nothing_written), ("backward twice", subject.backward_twice),
                ("train=False", subject.predicts_the_same), ("gradient", subject.gradient)]
    for name, promise in promises:
        try:
            problem = promise()
        except Exception as error:                                   # a promise that raises is a broken promise, not a broken checker
            problem = f"raised {type(error).__name__}: {error}"
        contract.checks.append(Check(name, not problem, problem or ""))
        if problem and name == "runs":
            break
    contract.gradients = subject.report
    return contract


def check_model(model, images, targets, sizes, options=None, *, rng, eps=1e-7, rtol=1e-6, seed=0):
    """Check the gradients of a model of losses along one direction through all parameters and the images -> Report.

    losses, cache = model.forward(images, targets, sizes, rng=..., train=True); backward takes random weights of the losses. Each forward
    gets a fresh default_rng(seed), so that both sides of a difference sample the same boxes. A failure names the parameters and the losses.
    options: more keywords for forward: a two-stage detector needs {"proposals": ...}, because those that it finds itself move with its
    parameters while backward takes them as constants. eps is small because a network has thousands of ReLUs, and one of them is always
    near its corner.
    """
    model = shaken(as_float64(model), rng)
    images = np.asarray(images, np.float64)

    def run(x):
        return model.forward(x, targets, sizes, rng=np.random.default_rng(seed), train=True, **(options or {}))
    losses, cache = run(images)
    weights = {name: float(rng.uniform(0.5, 1.5)) for name in losses}
    report = Report(f"{type(model).__name__} with {', '.join(losses)}")

    def claim(weights, changed=None):
        dimages, grads = model.backward(weights, run((changed or {}).get("images", images))[1])
        return {"images": dimages, **tree.flatten(grads)}
    dimages, grads = model.backward(dict(weights), cache)
    problem = _problem(model, {"images": images}, {"images": dimages}, grads, lambda arrays: run(arrays["images"])[0], weights, eps, rtol)
    problem.claim = claim
    if not _names_agree(report, grads, model) or not well_formed(report, problem, rng):
        return report
    examine(report, problem, rng, elementwise=False, each=False)
    if not report.ok:
        report.notes += [_blame(model, problem, name, cache, rng) for name in losses]
    return report


def gradcheck_layer(layer, args, kwargs=None, *, rng, eps=1e-5, rtol=1e-6, elementwise="auto", fixed=None, title=None):
    """What gradcheck does with a layer or a model instead of a pair of functions -> Report. args: what forward takes, train=True added.

    Inputs are the floating arrays among args, and tuples or lists of them; everything else (targets, sizes) is passed on. Happens on a
    float64 copy with parameters moved off their first values: gamma = 1 and b = 0 hide a forgotten gamma or b.
    """
    report, rng = Report(title or type(layer).__name__), np.random.default_rng(rng.integers(2**63))
    kwargs = dict(kwargs or {})
    if "train" in inspect.signature(layer.forward).parameters:
        kwargs.setdefault("train", True)
    layer, names = shaken(as_float64(layer), rng), argument_names(layer.forward, len(args))
    args = [_cast(a, np.float64) if _is_input(a) else a for a in args]
    inputs = {n: a for n, a in zip(names, args, strict=True) if _is_input(a)}
    arrays = _named(inputs, inputs.values())

    def run(changed):
        values = [_unnamed([n], [a], {**arrays, **changed})[0] if n in inputs else a for n, a in zip(names, args, strict=True)]
        result = guarded("forward", layer.forward, *values, **copy.deepcopy(kwargs))
        if not (isinstance(result, tuple) and len(result) == 2):
            raise Stopped("wrong-shape", f"forward must return two things, `return out, cache`; got {type(result).__name__}.")
        return result

    def claim(dout, changed=None):
        dx, grads = _two_gradients(guarded("backward", layer.backward, dout, run(changed or {})[1]), inputs, args)
        return {**dx, **tree.flatten(grads)}
    try:
        out, cache = run({})
        dout = difference.random_like(out, rng)
        grads = _claimed_once(layer, dout, cache, inputs, args)
        problem = _problem(layer, arrays, {}, {}, lambda changed: run(changed)[0], dout, eps, rtol)
        problem.grads, problem.claim, problem.fixed = grads, claim, fixed_elements(problem.arrays, fixed)
        if set(grads) - set(inputs) - set(arrays) == set(dict(layer.named_params())) or _names_agree(
                report, {n: g for n, g in grads.items() if n not in arrays}, layer):
            if well_formed(report, problem, rng):
                examine(report, problem, rng, elementwise, each=len(problem.arrays) <= 8)
                if not report.ok and report.diagnosis != "kink":
                    form.look_again(report, problem, dout)
    except Stopped as stopped:
        report.fail(stopped.code, stopped.message)
    return report


def _two_gradients(result, inputs, args):
    """What a layer's backward returned -> {input: gradient}, the nested dict of the parameters' gradients."""
    if result is None:
        raise Stopped("not-implemented", "backward returns None: it must return (dx, grads).")
    if not (isinstance(result, tuple) and len(result) == 2):
        raise Stopped("wrong-shape", f"backward must return two things, dx and the parameters' gradients; got {type(result).__name__}.")
    dx, grads = result
    dx = (dx,) if len(inputs) == 1 else tuple(dx) if isinstance(dx, (tuple, list)) else (dx,)
    if len(dx) < len(inputs):
        raise Stopped("wrong-shape", f"backward returns {len(dx)} gradients for the {len(inputs)} inputs {', '.join(inputs)}.")
    return _named(inputs, dx[:len(inputs)]), grads


def _claimed_once(layer, dout, cache, inputs, args):
    """{name: gradient}; Stopped if backward writes into dout, the cache or a parameter, or gives another gradient the second time."""
    watched = [(n, a) for what, value in (("dout", dout), ("cache", cache), ("params", dict(layer.named_params())))
               for n, a in ((f"{what}.{n}".removesuffix(".array"), a) for n, a in calls.arrays_of(value))]
    before = calls.copies(watched)
    claimed = None
    for _ in form.repeated():
        dx, grads = _two_gradients(guarded("backward", layer.backward, dout, cache), inputs, args)
        found = {n: g if g is None else np.array(g) for n, g in {**dx, **tree.flatten(grads)}.items()}
        form.unwritten("backward", before, watched)
        claimed = claimed or found
        for n, g in claimed.items():
            if g is not None and not calls.equal(g, found[n]):
                raise Stopped("nondeterministic", f"backward gives two different gradients of {n} for the same dout and cache. "
                              "It must draw no random numbers, and keep nothing from the call before.")
    return claimed


def _is_input(a):
    return calls.is_floating(a) or (isinstance(a, (tuple, list)) and len(a) > 0 and all(calls.is_floating(v) for v in a))


class _Subject:
    """One layer with its input. Each method is a promise: it returns None if kept, else a sentence."""

    def __init__(self, layer, inputs, rng, fixed, eps, rtol):
        self.layer, self.given, self.rng, self.eps, self.rtol = shaken(as_float64(layer), rng), layer, rng, eps, rtol
        self.inputs, self.inputs32 = (tuple(_cast(x, dtype) for x in inputs) for dtype in (np.float64, np.float32))
        self.names, self.fixed = argument_names(layer.forward, len(inputs)), fixed
        self.report = None

    def dinputs(self, dx):
        """What backward returned first, by input name: a tuple where forward takes several inputs."""
        return _named(self.names, dx if len(self.names) > 1 else (dx,))

    def runs(self):
        result = self.layer.forward(*self.inputs, train=True)
        if not (isinstance(result, tuple) and len(result) == 2):
            return f"forward must return (out, cache), got {type(result).__name__}"
        out, cache = result
        result = self.layer.backward(upstream(out), cache)
        return None if isinstance(result, tuple) and len(result) == 2 else f"backward must return (dx, grads), got {type(result).__name__}"

    def parameter_names(self):
        out, cache = self.layer.forward(*self.inputs, train=True)
        report = Report("")
        return None if _names_agree(report, self.layer.backward(upstream(out), cache)[1], self.layer) else report.message

    def dtype_kept(self):
        layer = copy.deepcopy(self.given).astype(np.float32)
        out, cache = layer.forward(*self.inputs32, train=True)
        dx, grads = layer.backward(upstream(out), cache)
        for name, leaf in [*difference.leaves(out), *((f"d{n}", d) for n, d in self.dinputs(dx).items()), *tree.flatten(grads).items()]:
            if leaf.dtype != np.float32:
                return f"float32 input and parameters gave {name or 'an output'} of {leaf.dtype}"
        return None

    def nothing_written(self):
        given = {"inputs": list(self.inputs), "params": dict(self.layer.named_params())}
        with untouched("forward", given):
            out, cache = self.layer.forward(*self.inputs, train=True)
        dout = upstream(out)
        with untouched("backward", {**given, "buffers": dict(self.layer.named_buffers()), "dout": dout, "cache": cache}):
            self.layer.backward(dout, cache)

    def backward_twice(self):
        out, cache = self.layer.forward(*self.inputs, train=True)
        (dx, grads), (dx2, grads2) = (self.layer.backward(upstream(out), cache) for _ in range(2))
        return differs(dx, dx2, 0, "dx") or differs(tree.flatten(grads), tree.flatten(grads2), 0, "the gradient of")

    def predicts_the_same(self):
        layer = copy.deepcopy(self.layer)
        buffers = {name: b.copy() for name, b in layer.named_buffers()}
        out, _ = layer.forward(*self.inputs, train=True)
        batch_statistics = any(not np.array_equal(b, buffers[name]) for name, b in layer.named_buffers())
        after = {name: b.copy() for name, b in layer.named_buffers()}
        predicted, cache = layer.forward(*self.inputs, train=False)
        if not isinstance(cache, NoCache) or cache:
            return f"forward(train=False) must return an empty NoCache, got a {type(cache).__name__} with {sorted(map(str, cache))}"
        if differs(dict(layer.named_buffers()), after, 0, "a buffer"):
            return "forward(train=False) changed the running statistics"
        return None if batch_statistics else differs(predicted, out, 1e-12, "the output with train=False")

    def claim(self, dout, changed=None):
        inputs = _unnamed(self.names, self.inputs, {**_named(self.names, self.inputs), **(changed or {})})
        dx, grads = self.layer.backward(dout, self.layer.forward(*inputs, train=True)[1])
        return {**self.dinputs(dx), **tree.flatten(grads)}

    def gradient(self):
        self.report = Report(type(self.layer).__name__)
        out, cache = self.layer.forward(*self.inputs, train=True)
        dout = difference.random_like(out, self.rng)
        dx, grads = self.layer.backward(dout, cache)

        def evaluate(arrays):
            return self.layer.forward(*_unnamed(self.names, self.inputs, arrays), train=True)[0]
        arrays = _named(self.names, self.inputs)
        problem = _problem(self.layer, arrays, self.dinputs(dx), grads, evaluate, dout, self.eps, self.rtol)
        problem.claim = self.claim
        problem.fixed = fixed_elements(arrays, self.fixed)
        if well_formed(self.report, problem, self.rng):
            examine(self.report, problem, self.rng, elementwise=False, each=len(problem.arrays) <= 8)
        return self.report.message


def _problem(layer, inputs, dinputs, grads, forward, dout, eps, rtol):
    """The layer as a function of its inputs and parameters. Parameters are changed in place and put back, whatever happens."""
    params = dict(layer.named_params())

    def evaluate(changed):
        before = {name: params[name].copy() for name in changed if name in params}
        try:
            for name in before:
                params[name][...] = changed[name]
            return forward({name: changed.get(name, a) for name, a in inputs.items()})
        finally:
            for name, a in before.items():
                params[name][...] = a
    arrays = {**inputs, **{name: a.copy() for name, a in params.items()}}
    return difference.Problem(evaluate, arrays, {**dinputs, **tree.flatten(grads)}, dout, eps=eps, rtol=rtol)


def _names_agree(report, grads, layer):
    """The dotted names of the gradients are exactly those of the parameters."""
    got, owed = set(tree.flatten(grads)), set(dict(layer.named_params()))
    missing, extra = sorted(owed - got), sorted(got - owed)
    if missing or extra:
        report.fail(SHAPE, "; ".join([f"backward returns no gradient for the parameters {', '.join(missing)}"] * bool(missing)
                                     + [f"backward returns gradients for unknown parameters {', '.join(extra)}"] * bool(extra)))
    return report.ok


def _blame(model, problem, loss, cache, rng):
    """Check one loss alone: a sentence for the report's notes."""
    weights = {name: float(name == loss) for name in problem.dout}
    dimages, grads = model.backward(weights, cache)
    claimed = {"images": dimages, **tree.flatten(grads)}
    alone = difference.Problem(problem.evaluate, problem.arrays, claimed, weights, eps=problem.eps, rtol=problem.rtol)
    found, _ = difference.along_random(alone, alone.arrays, rng)
    return f"{loss} alone: relative error {found.error:.1e}"


def as_float64(layer):
    """A copy of the layer with float64 parameters and buffers."""
    return copy.deepcopy(layer).astype(np.float64)


def shaken(layer, rng):
    """Move parameters and buffers off their first values, in place: gamma = 1, b = 0 and a running variance of 1 hide what forgets them."""
    for _, p in layer.named_params():
        p += 0.1 * rng.standard_normal(p.shape)
    for _, b in layer.named_buffers():
        b += 0.1 * np.abs(rng.standard_normal(b.shape))              # upwards, so that a variance stays positive
    return layer


def _cast(x, dtype):
    return tuple(_cast(v, dtype) for v in x) if isinstance(x, (tuple, list)) else np.asarray(x, dtype)


def _named(names, values):
    """{"x": x} of the inputs, with {"x.0": ..., "x.1": ...} of an input that is a tuple of arrays."""
    return tree.flatten(dict(zip(names, values, strict=True)))


def _unnamed(names, like, arrays):
    """The inputs again, in forward's order."""
    return [tuple(arrays[f"{n}.{i}"] for i in range(len(x))) if isinstance(x, tuple) else arrays[n]
            for n, x in zip(names, like, strict=True)]
