"""How other libraries do the same work: `torch_peer` forward and backward, `onnx_peer` forward. Imported here and nowhere else.

Each is a function(case, arrays, dout) -> {"forward": function, "backward": function}, empty where the library cannot do it.
torch's forward records what its backward needs, as ours does; its backward computes the gradients of the very inputs that ours gives.
"""
import importlib.util
import math

import numpy as np

from numpyvision import threads


def installed():
    """{name: peer} of the libraries that are there.

    Call it before the first kernel: then torch's OpenMP is loaded with its own settings, not with those of kernels/jit.py, which cost it
    up to a sixth of a step.
    """
    found = {}
    if importlib.util.find_spec("torch"):
        found["torch"] = torch_peer()
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        found["onnxruntime"] = onnx_peer
    return found


def torchvision_ops():
    """torchvision.ops, or None where it is not installed or was built for another torch."""
    try:
        import torchvision.ops
        return torchvision.ops
    except (ImportError, RuntimeError, OSError):
        return None


# ---------------------------------------------------------------------------------------------------------------- torch
def torch_peer():
    import torch
    torch.set_num_threads(threads.get_num_threads())
    differentiable, plain = torch_functions(torch, torchvision_ops())

    def peer(line, arrays, dout):
        if line.op in plain:
            return {"forward": plain[line.op](*(torch_tree(torch, a) for a in arrays))}
        if line.op not in differentiable:
            return {}
        constants = ("rois", "target", "targets", *line.constants)
        tensors = {name: torch.from_numpy(a.copy()) for name, a in arrays.items()}
        wanted = [t.requires_grad_() for name, t in tensors.items() if t.is_floating_point() and name not in constants]

        def forward():
            return differentiable[line.op](*tensors.values(), **line.statics)
        out = forward()
        gradient = torch.ones_like(out) if np.ndim(dout) == 0 else torch.from_numpy(dout)
        return {"forward": forward, "backward": lambda: torch.autograd.grad(out, wanted, gradient, retain_graph=True)}
    return peer


def torch_tree(torch, arrays):
    return [torch_tree(torch, a) for a in arrays] if isinstance(arrays, list) else torch.from_numpy(arrays.copy())


def torch_functions(torch, vision):
    """({operation: differentiable function}, {operation: function(*tensors) -> the work as a function})."""
    F = torch.nn.functional

    def batch_norm(x, gamma, beta, mean, var):
        return F.batch_norm(x, mean, var, gamma, beta, training=True)

    def frozen_norm(x, gamma, beta, mean, var):
        return F.batch_norm(x, mean, var, gamma, beta, training=False)

    def group_norm(x, gamma, beta, num_groups):
        return F.group_norm(x, num_groups, gamma, beta)

    def then_relu(function):                                             # in place, as their users write it: no copy of the map
        return lambda *tensors, **settings: F.relu(function(*tensors, **settings), inplace=True)

    def focal(logits, targets, alpha=0.25, gamma=2.0):                   # the lines of torchvision.ops.sigmoid_focal_loss
        p, ce = torch.sigmoid(logits), F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        p_t = p * targets + (1 - p) * (1 - targets)
        return ((alpha * targets + (1 - alpha) * (1 - targets)) * ce * (1 - p_t) ** gamma).mean()

    def centre_and_size(boxes):
        return (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]

    def encode(boxes, references):
        (c, size), (c0, size0) = centre_and_size(boxes), centre_and_size(references)
        return torch.cat([(c - c0) / size0, torch.log(size / size0)], 1)

    def decode(deltas, references):
        c0, size0 = centre_and_size(references)
        c, half = c0 + deltas[:, :2] * size0, size0 * torch.exp(deltas[:, 2:].clamp(max=math.log(1000 / 16))) / 2
        return torch.cat([c - half, c + half], 1)

    def resize(mode):
        return lambda x, scale_factor: F.interpolate(x, scale_factor=scale_factor, mode=mode)
    differentiable = {
        "conv2d": lambda x, w, **s: F.conv2d(x, w, None, **s), "conv_transpose2d": lambda x, w, **s: F.conv_transpose2d(x, w, None, **s),
        "linear": lambda x, w, b: torch.addmm(b, x, w), "relu": F.relu, "sigmoid": torch.sigmoid,
        "max_pool2d": lambda x, **s: F.max_pool2d(x, **s, return_indices=True)[0], "avg_pool2d": F.avg_pool2d,
        "conv1d": F.conv1d, "conv_transpose1d": F.conv_transpose1d,
        "affine_norm": frozen_norm, "affine_norm_relu": then_relu(frozen_norm),
        "encode_boxes": encode, "decode_boxes": decode,
        "clip_boxes": lambda boxes, image_size: boxes.clamp(min=0).minimum(boxes.new_tensor([*image_size[::-1]] * 2)),
        "global_avg_pool": lambda x: x.mean((2, 3)), "max_unpool2d": lambda x, indices: F.max_unpool2d(x, indices, 2),
        "batch_norm": batch_norm, "group_norm": group_norm,
        "batch_norm_relu": then_relu(batch_norm), "group_norm_relu": then_relu(group_norm),
        "upsample_nearest": resize("nearest"), "upsample_bilinear": resize("bilinear"), "upsample_bicubic": resize("bicubic"),
        "softmax_cross_entropy": lambda logits, labels: F.cross_entropy(logits, labels, ignore_index=255),
        "sigmoid_bce": F.binary_cross_entropy_with_logits, "smooth_l1": F.smooth_l1_loss, "sigmoid_focal_loss": focal}
    if vision is not None:
        differentiable["roi_align"] = lambda x, rois, output_size, spatial_scale: vision.roi_align(
            x, rois, output_size, spatial_scale, 2, True)
        differentiable["roi_pool"] = lambda x, rois, output_size, spatial_scale: vision.roi_pool(x, rois, output_size, spatial_scale)
    else:
        differentiable["roi_align"] = lambda x, rois, output_size, spatial_scale: grid_roi_align(x, rois, output_size, spatial_scale)
    return differentiable, {**torch_selection(torch, vision), **torch_optimizers(torch)}


def torch_selection(torch, vision):
    def pairwise_iou(a, b):
        size = (torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])).clamp(min=0)
        inter, area = size[..., 0] * size[..., 1], [(t[:, 2] - t[:, 0]) * (t[:, 3] - t[:, 1]) for t in (a, b)]
        return inter / (area[0][:, None] + area[1] - inter)

    def match(overlap):                                                  # as torchvision's detection models do it
        best, matched = overlap.max(0)
        labels = torch.where(best >= 0.7, 1, torch.where(best < 0.3, 0, -1))
        highest = overlap.max(1)[0][:, None]
        labels[torch.where((overlap == highest) & (highest > 0))[1]] = 1
        return matched, labels
    found = {"box_iou": lambda a, b: lambda: pairwise_iou(a, b), "match_boxes": lambda overlap: lambda: match(overlap),
             "add": lambda a, b: lambda: a + b, "add_relu": lambda a, b: lambda: torch.relu_(a + b)}
    if vision is not None:
        found |= {"box_iou": lambda a, b: lambda: vision.box_iou(a, b), "nms": lambda b, scores: lambda: vision.nms(b, scores, 0.7)}
    return found


def torch_optimizers(torch):
    def stepper(make):
        def update(params, grads):
            for p, g in zip(params, grads, strict=True):
                p.requires_grad_()
                p.grad = g
            return make(params).step
        return update
    return {"SGD": stepper(lambda params: torch.optim.SGD(params, 1e-4, momentum=0.9, weight_decay=1e-4, fused=True)),
            "AdamW": stepper(lambda params: torch.optim.AdamW(params, 1e-4, weight_decay=1e-4, fused=True))}


def grid_roi_align(x, rois, output_size, spatial_scale):
    """RoI Align where there is no torchvision, 2 x 2 samples a bin: all samples of an image's regions in one grid_sample, then their mean.

    It is as fast as plain torch gets, and equal as long as boxes lie in the image.
    """
    import torch
    S, (H, W), F = output_size, x.shape[2:], torch.nn.functional
    u = (torch.arange(2 * S, dtype=x.dtype) + 0.5) / (2 * S)                                                # (2S,)
    lo, hi = rois[:, 1:3, None] * spatial_scale, rois[:, 3:5, None] * spatial_scale
    v = lo + u * (hi - lo)                                                                                  # (R, 2, 2S), cell i at i + 0.5
    v = 2 * v / torch.tensor([W, H], dtype=x.dtype)[:, None] - 1
    points = torch.stack([v[:, 0, None, :].expand(-1, 2 * S, -1), v[:, 1, :, None].expand(-1, -1, 2 * S)], 3)     # (R, 2S, 2S, 2)
    out = x.new_empty((len(rois), x.shape[1], S, S))
    for n in range(len(x)):
        rows = torch.nonzero(rois[:, 0] == n)[:, 0]
        if len(rows) == 0:
            continue
        samples = F.grid_sample(x[n:n + 1], points[rows].reshape(1, -1, 2 * S, 2), padding_mode="border", align_corners=False)
        crops = F.avg_pool2d(samples.reshape(x.shape[1], len(rows), 2 * S, 2 * S), 2)                       # (C, R_n, S, S)
        out = out.index_copy(0, rows, crops.transpose(0, 1))
    return out


# ---------------------------------------------------------------------------------------------------------------- onnxruntime
def onnx_peer(line, arrays, dout):
    """A session of one node, float32. Weights are inputs, so that nothing is folded away."""
    node = onnx_node(line)
    if node is None:
        return {}
    import onnx
    import onnxruntime
    kind, attributes, constants = node
    named = {**{k: v for k, v in arrays.items() if k != "rois"}, **constants} if isinstance(arrays, dict) else {
        f"x{i}": a for i, a in enumerate(arrays)}
    if kind == "RoiAlign":
        named |= {"rois": arrays["rois"][:, 1:].copy(), "batch": arrays["rois"][:, 0].astype(np.int64)}
    helper = onnx.helper
    inputs = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for k, a in named.items() if k]
    graph = helper.make_graph([helper.make_node(kind, list(named), ["out"], **attributes)], "one", inputs,
                              [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")     # it would keep the others from the processor
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {k: a for k, a in named.items() if k}
    return {"forward": lambda: session.run(None, feed)}


def onnx_node(line):
    """(node, attributes, further inputs) of the operations that have one, else None."""
    s = line.statics
    pair = lambda v: [v, v]
    if line.op in ("conv2d", "conv_transpose2d"):
        return ("Conv" if line.op == "conv2d" else "ConvTranspose"), dict(
            strides=pair(s["stride"]), pads=pair(s["padding"]) * 2, group=s.get("groups", 1)), {}
    if line.op in ("max_pool2d", "avg_pool2d"):
        return ("MaxPool" if line.op == "max_pool2d" else "AveragePool"), dict(
            kernel_shape=pair(s["kernel_size"]), strides=pair(s.get("stride", s["kernel_size"])), pads=pair(s.get("padding", 0)) * 2), {}
    if line.op == "roi_align":
        return "RoiAlign", dict(output_height=s["output_size"], output_width=s["output_size"], sampling_ratio=2,
                                spatial_scale=s["spatial_scale"], coordinate_transformation_mode="half_pixel"), {}
    if line.op in ("upsample_nearest", "upsample_bilinear", "upsample_bicubic"):
        mode = {"upsample_nearest": "nearest", "upsample_bilinear": "linear", "upsample_bicubic": "cubic"}[line.op]
        scales = np.array([1, 1, s["scale_factor"], s["scale_factor"]], np.float32)
        return "Resize", dict(mode=mode, **({"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
                                            if mode == "nearest" else {})), {"": np.zeros(0, np.float32), "scales": scales}
    return {"relu": ("Relu", {}, {}), "sigmoid": ("Sigmoid", {}, {}), "linear": ("Gemm", {}, {}), "add": ("Add", {}, {}),
            "global_avg_pool": ("GlobalAveragePool", {}, {})}.get(line.op)
