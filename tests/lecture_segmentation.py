"""Rows of the lecture: semantic segmentation (G) and its errata. Run by test_lecture.py."""
import numpy as np
from lecture_rows import close, rng, row

from numpyvision import check
from numpyvision.layers import upsample
from numpyvision.losses import classification
from numpyvision.models import deconvnet, fcn, pixels, sliding_window
from numpyvision.ops import conv, pool
from numpyvision.plot import lecture_fields


def tiny_window(pooled=True):
    return sliding_window.SlidingWindow(("a", "b", "c"), (3, 4), (4, 3), pooled, hidden=5, rng=rng(20), dtype=np.float64)


@row("G02")
def sliding_a_window_is_one_run_of_a_convolution():
    images = rng(21).random((2, 3, 9, 11))
    for pooled in (True, False):
        model = tiny_window(pooled)
        close(model.scores_naive(images), model.scores(images), 1e-10)


@row("G03")
def sliding_a_window_shares_no_work():
    model, (H, W), p = tiny_window(), (20, 30), 9
    assert model.patch_size == p
    counts = model.multiply_adds(H, W)
    patch = 3 * 3 * 16 * 6 * 6 + 4 * 3 * 9 * 1 * 1 + 5 * 4 + 3 * 5        # conv 4x4 on 9x9, pool to 3x3, conv 3x3, two fully connected
    assert counts["naive"] == H * W * patch
    h, w = H + p - 1, W + p - 1
    dense = 9 * 16 * (h - 3) * (w - 3) + 12 * 9 * (h - 3 - 1 - 4) * (w - 3 - 1 - 4) + (20 + 15) * H * W
    assert counts["dense"] == dense and counts["naive"] / counts["dense"] > 15


@row("G04")
def an_fcn_keeps_the_image_size_and_takes_the_best_class():
    model = fcn.FCN(("a", "b", "c"), widths=(4, 4, 8, 8, 8), rng=rng(22), dtype=np.float64)
    images = rng(23).random((2, 3, 64, 32))
    scores, _ = model.scores(images, train=False)
    assert scores.shape == (2, 3, 64, 32), "C x H x W scores"
    labels = model.predict(images)
    assert labels.shape == (2, 64, 32) and labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, scores.argmax(axis=1))
    assert pixels.class_maps(np.array([1.0, 3, 3])[None, :, None, None]).item() == 1, "of two equal scores the lower class"


@row("G05")
def the_loss_is_the_mean_of_the_pixels_cross_entropies():
    logits, labels = rng(24).normal(size=(2, 4, 3, 5)), rng(25).integers(0, 4, (2, 3, 5))
    labels[0, 0], labels[1, 2, 3] = 255, 255
    loss, cache = classification.softmax_cross_entropy_forward(logits, labels)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    valid = np.argwhere(labels != 255)
    close(loss, np.mean([-np.log(p[n, labels[n, i, j], i, j]) for n, i, j in valid]))
    expected = np.zeros_like(logits)
    for n, i, j in valid:
        expected[n, :, i, j] = (p[n, :, i, j] - np.eye(4)[labels[n, i, j]]) / len(valid)
    dlogits = classification.softmax_cross_entropy_backward(1.0, cache)
    close(dlogits, expected)
    assert not dlogits[0, :, 0].any() and not dlogits[1, :, 2, 3].any()


@row("G06")
def the_receptive_field_of_l_convolutions_is_1_plus_2l():
    fields = lecture_fields.gradients_of_center(5)
    assert [lecture_fields.support(f) for f in fields] == [3, 5, 7, 9, 11] == [1 + 2 * L for L in range(1, 6)]


@row("G06")
def strides_pools_and_dilations_multiply_and_add():
    layers = [("conv", 3, 2, 1), ("pool", 2, 2, 1), ("conv", 3, 1, 2), ("conv", 3, 2, 1)]                # kind, k, stride, dilation
    field, jump, h, caches = 1, 1, np.zeros((1, 1, 127, 127)), []
    for kind, k, s, d in layers:
        field, jump = field + d * (k - 1) * jump, jump * s
        h, cache = (pool.avg_pool2d_forward(h, k, s) if kind == "pool" else
                    conv.conv2d_forward(h, np.ones((1, 1, k, k)), stride=s, dilation=d))
        caches.append(cache)
    dh = np.zeros_like(h)
    dh[0, 0, h.shape[2] // 2, h.shape[3] // 2] = 1
    for (kind, *_), cache in zip(layers[::-1], caches[::-1], strict=True):
        dh = pool.avg_pool2d_backward(dh, cache) if kind == "pool" else conv.conv2d_backward(dh, cache)[0]
    assert (lecture_fields.support(dh[0, 0]), jump, field) == (29, 8, 29)


@row("G07")
def convolutions_at_full_size_are_dear_and_a_resnets_stem_downsamples_by_4_in_two_layers():
    def multiply_adds(x, w, **settings):
        out, _ = conv.conv2d_forward(x, w, **settings)
        return out, out.size * w[0].size
    x = np.zeros((1, 3, 64, 96), np.float32)
    full, cost = multiply_adds(x, np.zeros((8, 3, 7, 7), np.float32), padding=3)
    stem, stem_cost = multiply_adds(x, np.zeros((8, 3, 7, 7), np.float32), stride=2, padding=3)
    pooled, _ = pool.max_pool2d_forward(stem, 3, 2, 1)
    assert pooled.shape == (1, 8, 64 // 4, 96 // 4) and cost == 4 * stem_cost == 64 * 96 * 8 * 147
    w = np.zeros((8, 8, 3, 3), np.float32)
    assert multiply_adds(full, w, padding=1)[1] == 16 * multiply_adds(pooled, w, padding=1)[1], "every later layer costs a sixteenth"


@row("G08", "E08")
def sizes_go_down_and_up_again_and_the_low_resolution_map_is_smaller_than_the_middle_one():
    model = deconvnet.DeconvNet(("a", "b"), widths=(4, 6, 8), fc_channels=8, rng=rng(26), dtype=np.float64)
    x = rng(27).random((1, 3, 32, 48))
    P, indices, _ = model.backbone.forward_with_indices(x, train=False)
    assert [p.shape[1:] for p in P] == [(4, 16, 24), (6, 8, 12), (8, 4, 6)], "high D1 x H/2, middle D2 x H/4, low D3 x H/8"
    assert P[2].shape[2:] != P[1].shape[2:], "the slide prints H/4 x W/4 for both"
    sizes, h = [(32, 48), (16, 24), (8, 12)], P[-1]
    for stage, up, size in zip(model.decoder.stages[::-1], indices[::-1], sizes[::-1], strict=True):
        h, _ = model.decoder.unpool.forward(h, up, size, train=False)
        h, _ = stage.forward(h, train=False)
        assert h.shape[2:] == size, "the way up mirrors the way down"
    assert model.predict(x).shape == (1, 32, 48)


@row("G09")
def every_way_down_goes_with_every_way_up():
    for way_down in ("pool", "conv"):
        for kind in upsample.UPSAMPLERS:
            if kind == "max_unpool" and way_down == "conv":
                continue                                   # nothing to remember
            seed = rng(28)
            up = upsample.Upsample(kind, 2, 3, (3,), rng=seed, dtype=np.float64)
            w = seed.normal(size=(3, 3, 3, 3))

            def forward(x, w=w, way_down=way_down, up=up, kind=kind):
                if way_down == "pool":
                    h, cache = pool.max_pool2d_forward(x, 2)
                else:
                    h, cache = conv.conv2d_forward(x, w, stride=2, padding=1)
                out, up_cache = up.forward(h, (cache.indices,) if kind == "max_unpool" else ())
                return out, (cache, up_cache)

            def backward(dout, caches, way_down=way_down, up=up):
                dh, _ = up.backward(dout, caches[1])
                return pool.max_pool2d_backward(dh, caches[0]) if way_down == "pool" else conv.conv2d_backward(dh, caches[0])[0]
            x = 0.1 * (seed.permutation(144).reshape(1, 3, 6, 8) - 72.0)
            assert forward(x)[0].shape == x.shape
            report = check.gradcheck(forward, backward, [x], rng=seed)
            assert report.ok, f"{way_down}, {kind}: {report}"


@row("E12")
def the_effective_receptive_field_grows_like_the_root_of_the_depth():
    fields = lecture_fields.gradients_of_center(64)
    measures = lecture_fields.support, lecture_fields.effective_side
    theoretical, effective = (np.array([measure(fields[L - 1]) for L in (16, 64)]) for measure in measures)
    assert theoretical.tolist() == [33, 129], "1 + 2L is the theoretical one: four times the layers, four times the side"
    assert abs(effective[1] / effective[0] - 2) < 0.02 and (effective < 0.45 * theoretical).all(), "the effective one: only twice"
    close(effective, 4 * np.sqrt(np.array([16, 64]) * 2 / 3), 1e-6)
