"""Optimisers: from gradients to a step of the parameters, which change in place (a model and its optimiser share the arrays).

    optimizer = SGD(model.named_params(), lr=0.02, weight_decay=1e-4)
    _, grads = model.backward(weights, cache)
    optimizer.step(grads)                      # grads is the nested tree of backward; its dotted names must be the parameters'

Shapes here: every parameter p, its gradient g and its state (v, or m and v) have one shape and one dtype.
"""
import math

import numpy as np

from numpyvision import backend, kernels, tree
from numpyvision.training.pieces import Pieces


class Optimizer:
    """What all of them share: names, checks, weight decay, state in and out. A subclass says what it remembers and how it updates."""

    slots = ()                                 # names of the arrays kept beside every parameter
    _update_pieces = None                      # a subclass may say how a kernel updates many parameters in one call

    def __init__(self, named_params, lr, weight_decay=0.0, decay_1d=False):
        """named_params: pairs (name, array) or a dict. Weight decay spares 1-D parameters (gamma, beta, b) unless decay_1d.

        They are few, they do not multiply features, and pulling a norm's gamma to zero fights the norm (He et al. 2019, section 3.1).
        """
        pairs = list(named_params.items() if isinstance(named_params, dict) else named_params)
        self.params = dict(pairs)
        _check_params(pairs)
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            _check_range(name, value)
        self.lr, self.weight_decay, self.decay_1d = lr, weight_decay, decay_1d
        self.steps = 0                         # how many steps were taken
        self._pieces = []                      # of the parameters that kernels update, as they were at the last step
        self.state = {f"{slot}.{name}": backend.get_array_module(p).zeros_like(p) for slot in self.slots for name, p in pairs}

    def step(self, grads, lr=None):
        """Update every parameter in place with the gradients of the nested tree `grads`, at learning rate lr (default: self.lr)."""
        flat = tree.flatten(grads)
        self._check_grads(flat)
        self.steps += 1
        lr = self.lr if lr is None else lr
        for name in self._step_compiled(flat, lr):
            p = self.params[name]
            decay = self.weight_decay if p.ndim > 1 or self.decay_1d else 0.0
            self._update(p, flat[name], *(self.state[f"{slot}.{name}"] for slot in self.slots), lr=lr, decay=decay)

    def _step_compiled(self, grads, lr):
        """Update what kernels can take, all parameters of a dtype in one call -> the names of the others."""
        if backend.mode() != "compiled" or self._update_pieces is None:
            return list(self.params)
        if not self._pieces or not all(pieces.fits(self._columns(pieces.names)) for pieces in self._pieces):
            self._pieces = self._cut()
        done = set()
        for pieces in self._pieces:
            theirs = [grads[name] for name in pieces.names]
            if all(isinstance(g, np.ndarray) for g in theirs):
                theirs = [np.ascontiguousarray(g) for g in theirs]
                decay = np.where(pieces.is_1d & (not self.decay_1d), 0.0, self.weight_decay)               # (K,)
                self._update_pieces(pieces, pieces.addresses(theirs), decay, lr)
                done.update(pieces.names)
        return [name for name in self.params if name not in done]

    def _cut(self):
        """Pieces for each dtype. A kernel writes only to arrays that are its own to write to: native numbers, side by side in memory."""
        plain = [name for name in self.params if all(isinstance(a, np.ndarray) and a.flags.carray for a, in self._columns([name]))]
        groups = ([name for name in plain if self.params[name].dtype == dtype] for dtype in (np.float32, np.float64))
        return [Pieces(names, self._columns(names)) for names in groups if names]

    def _columns(self, names):
        """These parameters, then their arrays of each slot."""
        return [[self.params[name] for name in names]] + [[self.state[f"{slot}.{name}"] for name in names] for slot in self.slots]

    def __getstate__(self):
        return {**vars(self), "_pieces": []}   # a copy has other arrays, at other addresses

    def _update(self, p, g, *state, lr, decay):
        raise NotImplementedError

    def state_dict(self):
        """A flat dict {name: array} of everything that a resumed run needs. The arrays are the live ones: copy them to keep them."""
        return {"steps": np.array(self.steps, np.int64), **self.state}

    def load_state_dict(self, state):
        """Take over what state_dict gave, in place. Nothing is written unless every name, shape and dtype fits."""
        mine = self.state_dict()
        _check_names("optimiser state", mine, state, "the state was saved by another optimiser or for another model")
        for name, array in mine.items():
            _check_like(f"optimiser state {name}", state[name], array, "the state was saved for another model")
        self.steps = int(state["steps"])
        for name, array in self.state.items():
            array[...] = backend.get_array_module(array).asarray(state[name])

    def _check_grads(self, flat):
        _check_names("gradients", self.params, flat, "a backward that forgot a branch, or the gradients of another model")
        for name, p in self.params.items():
            _check_like(f"the gradient of {name}", flat[name], p, "a backward that sums over the wrong axis, or silently upcasts")


class SGD(Optimizer):
    """Stochastic gradient descent with momentum: v = momentum * v + (g + decay * p);  p -= lr * v   (torch's form: lr outside of v).

    nesterov looks one step ahead: p -= lr * ((g + decay * p) + momentum * v).
    """

    slots = ("momentum",)

    def __init__(self, named_params, lr, momentum=0.9, weight_decay=0.0, nesterov=False, decay_1d=False):
        _check_range("momentum", momentum, below=1)
        if nesterov and momentum == 0:
            raise ValueError("nesterov=True needs a momentum > 0, got momentum=0")
        self.momentum, self.nesterov = momentum, nesterov
        super().__init__(named_params, lr, weight_decay, decay_1d)

    def _update_pieces(self, pieces, addresses, decay, lr):
        numbers = np.array((lr, self.momentum), pieces.dtype)
        kernels.optim.sgd(pieces.counts, addresses, decay.astype(pieces.dtype), numbers, self.nesterov)

    def _update(self, p, g, v, *, lr, decay):
        d = g + decay * p if decay else g
        v *= self.momentum
        v += d
        p -= lr * (d + self.momentum * v if self.nesterov else v)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1): a step of size about lr for every parameter, however large its gradient.

    m and v are running means of g and g*g; both start at 0, so early values are too small by the factor 1 - beta**t, which is divided out.
    Weight decay is added to the gradient, as in the paper's L2; AdamW shrinks the parameter itself.
    """

    slots = ("m", "v")
    decoupled = False

    def __init__(self, named_params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decay_1d=False):
        for i, beta in enumerate(betas):
            _check_range(f"betas[{i}]", beta, below=1)
        self.betas, self.eps = tuple(betas), eps
        super().__init__(named_params, lr, weight_decay, decay_1d)

    def _update_pieces(self, pieces, addresses, decay, lr):
        (beta1, beta2), (correction1, correction2) = self.betas, self._corrections()
        numbers = beta1, 1 - beta1, beta2, 1 - beta2, lr / correction1, correction2**-0.5, self.eps
        none = np.zeros_like(decay)
        decay, shrink = (none, 1 - lr * decay) if self.decoupled else (decay, none + 1)
        arrays = (a.astype(pieces.dtype) for a in (decay, shrink, np.array(numbers)))
        kernels.optim.adam(pieces.counts, addresses, *arrays)

    def _update(self, p, g, m, v, *, lr, decay):
        (beta1, beta2), (correction1, correction2) = self.betas, self._corrections()
        if self.decoupled:                                            # AdamW: decay apart from the gradient's scaling
            p *= 1 - lr * decay
            decay = 0.0
        d = g + decay * p if decay else g
        m *= beta1; m += (1 - beta1) * d
        v *= beta2; v += (1 - beta2) * d * d
        p -= lr * (m / correction1) / (backend.get_array_module(p).sqrt(v / correction2) + self.eps)

    def _corrections(self):
        return 1 - self.betas[0]**self.steps, 1 - self.betas[1]**self.steps


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): p shrinks by lr * weight_decay * p, untouched by Adam's scaling."""

    decoupled = True

    def __init__(self, named_params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, decay_1d=False):
        super().__init__(named_params, lr, betas, eps, weight_decay, decay_1d)


def clip_grad_norm(grads, max_norm):
    """Scale all gradients by one factor so that their joint Euclidean norm is at most max_norm -> (grads, norm before clipping).

    Pure: with clipping a new tree comes back, without it the same one. max_norm=None only measures. A norm that is not finite is
    returned as it is, with the gradients as they were: scaling could not mend them, and the training loop says where it came from.
    """
    norm = math.sqrt(sum(_sum_of_squares(g) for g in tree.flatten(grads).values()))
    if max_norm is None or norm <= max_norm or not math.isfinite(norm):
        return grads, norm
    return tree.scale(grads, max_norm / norm), norm


def _sum_of_squares(g):
    if backend.compiled(g):
        return float(kernels.optim.sum_of_squares(np.ascontiguousarray(g).reshape(-1)))
    return float((g.astype(np.float64) ** 2).sum())


def _check_params(pairs):
    names, arrays = [name for name, _ in pairs], {id(p) for _, p in pairs}
    if not pairs:
        raise ValueError("an optimiser needs at least one parameter, got none; pass model.named_params() (a generator serves once)")
    if len(set(names)) < len(names) or len(arrays) < len(names):
        twice = sorted({n for n in names if names.count(n) > 1}) or "one array under two names"
        raise ValueError(f"every parameter must come once, got twice: {twice}; a shared layer must be yielded by one owner only")
    for name, p in pairs:
        if np.dtype(p.dtype).kind != "f":
            raise ValueError(f"parameter {name} must be float32 or float64, got {p.dtype}")


def _check_range(name, value, below=math.inf):
    if not 0 <= value < below:
        raise ValueError(f"{name} must be in [0, {below}), got {value!r}")


def _check_names(what, expected, got, cause):
    missing, extra = [n for n in expected if n not in got], [n for n in got if n not in expected]
    if missing or extra:
        raise ValueError(f"names of the {what} do not fit: missing {_some(missing)}, extra {_some(extra)}; usual cause: {cause}")


def _check_like(what, got, expected, cause):
    if (tuple(got.shape), got.dtype) != (tuple(expected.shape), expected.dtype):
        want, have = (f"{tuple(a.shape)} {a.dtype}" for a in (expected, got))
        raise ValueError(f"{what} must be {want}, got {have}; usual cause: {cause}")


def _some(names):
    return "none" if not names else ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
