"""Convolution, against sums of products written out."""

import itertools

import numpy as np

from cases import op_case
from reference import DTYPES, FLOATS, Random, Tensor, is_complex, merge, size_of, to_floating


def conv(
    x,
    k,
    strides=None,
    padding=None,
    input_dilation=None,
    kernel_dilation=None,
    feature_groups=1,
    batch_groups=1,
    input_permutation=None,
    kernel_permutation=None,
    output_permutation=None,
):
    rank = len(x.shape)
    a, w = x.array(), k.array()
    a = np.transpose(a, input_permutation or range(rank))
    w = np.transpose(w, kernel_permutation or range(rank))
    space = rank - 2
    strides, padding = strides or [1] * space, padding or [(0, 0)] * space
    input_dilation, kernel_dilation = input_dilation or [1] * space, kernel_dilation or [1] * space
    extent = [max(n - 1, 0) * d + min(n, 1) for n, d in zip(a.shape[2:], input_dilation)]
    outer = [
        (n + lo + hi - (t - 1) * d - 1) // s + 1
        for n, (lo, hi), t, d, s in zip(extent, padding, w.shape[2:], kernel_dilation, strides)
    ]
    batch, filters, features = a.shape[0] // batch_groups, w.shape[0], w.shape[1]
    out = np.zeros([batch, filters] + outer, dtype=object)
    per_group = filters // (feature_groups * batch_groups)
    for b, f in itertools.product(range(batch), range(filters)):
        group = f // per_group
        image = b + (group * batch if batch_groups > 1 else 0)
        first = group * features if feature_groups > 1 else 0
        for o in itertools.product(*map(range, outer)):
            total = 0
            for tap in itertools.product(*map(range, w.shape[2:])):
                at = [
                    i * s + t * d - lo
                    for i, s, t, d, (lo, _) in zip(o, strides, tap, kernel_dilation, padding)
                ]
                if any(
                    i % d or not 0 <= i // d < n for i, d, n in zip(at, input_dilation, a.shape[2:])
                ):
                    continue
                at = tuple(i // d for i, d in zip(at, input_dilation))
                for c in range(features):
                    total += a[(image, first + c) + at] * w[(f, c) + tap]
            out[(b, f) + o] = total
    order = output_permutation or list(range(rank))
    out = np.transpose(out, np.argsort(order))
    dtype = to_floating(merge(x.dtype, k.dtype))
    return Tensor(dtype, out.shape, [v if is_complex(dtype) else float(v) for v in out.reshape(-1)])


def attrs_of(**options):
    attrs = {
        "feature_group_size"
        if k == "feature_groups"
        else "batch_group_size"
        if k == "batch_groups"
        else k: v
        for k, v in options.items()
        if k != "padding"
    }
    if "padding" in options:
        attrs |= {
            "padding_low": [lo for lo, _ in options["padding"]],
            "padding_high": [hi for _, hi in options["padding"]],
        }
    return attrs


CASES = [
    ((1, 1, 3), (1, 1, 2), {}),
    ((2, 3), (4, 3), {}),
    ((2, 3, 7), (4, 3, 3), {}),
    ((2, 3, 5, 6), (4, 3, 2, 3), {}),
    ((1, 2, 5, 6), (3, 2, 3, 3), dict(padding=[(1, 1), (1, 1)])),
    ((1, 2, 5, 6), (3, 2, 2, 2), dict(strides=[2, 3])),
    ((2, 2, 6, 5), (1, 2, 2, 3), dict(padding=[(2, 0), (0, 3)], strides=[3, 2])),
    ((1, 2, 4, 5), (2, 2, 2, 2), dict(input_dilation=[2, 3])),
    ((1, 2, 6, 7), (2, 2, 2, 3), dict(kernel_dilation=[3, 2])),
    (
        (1, 1, 4, 4),
        (2, 1, 3, 2),
        dict(
            input_dilation=[2, 1], kernel_dilation=[1, 2], padding=[(2, 1), (0, 1)], strides=[1, 2]
        ),
    ),
    ((2, 4, 5), (6, 2, 2), dict(feature_groups=2)),
    ((1, 4, 4, 4), (4, 1, 2, 2), dict(feature_groups=4)),
    ((1, 3, 4, 4), (6, 1, 3, 1), dict(feature_groups=3, strides=[1, 2])),
    ((4, 2, 5), (6, 2, 2), dict(batch_groups=2)),
    ((6, 1, 4, 3), (3, 1, 2, 2), dict(batch_groups=3, padding=[(1, 0), (0, 1)])),
    ((2, 5, 6, 3), (4, 3, 2, 3), dict(input_permutation=[0, 3, 1, 2])),
    ((2, 3, 5, 6), (2, 3, 3, 4), dict(kernel_permutation=[3, 2, 0, 1])),
    ((2, 3, 5, 6), (4, 3, 2, 3), dict(output_permutation=[0, 3, 1, 2])),
    (
        (2, 5, 6, 3),
        (2, 3, 3, 4),
        dict(
            input_permutation=[0, 3, 1, 2],
            kernel_permutation=[3, 2, 0, 1],
            output_permutation=[0, 3, 1, 2],
        ),
    ),
    (
        (3, 5, 4, 6),
        (2, 4, 2, 3),
        dict(input_permutation=[0, 2, 3, 1], output_permutation=[3, 1, 0, 2]),
    ),
    ((1, 2, 4, 4), (1, 2, 2, 2), dict(padding=[(-1, 0), (0, -1)])),
    ((1, 2, 3, 4, 3), (2, 2, 2, 1, 2), dict(padding=[(1, 0), (0, 0), (0, 1)], strides=[1, 2, 1])),
    ((1, 1, 2, 2, 2, 2), (1, 1, 2, 1, 2, 2), {}),
    ((0, 2, 3), (1, 2, 2), {}),
    ((1, 0, 3), (2, 0, 2), {}),
    ((2, 1, 3), (0, 1, 2), {}),
]


def cases():
    for i, (a, b, options) in enumerate(CASES):
        for dtype in DTYPES if i in (1, 3, 9, 10, 13) else ("f32", "f64", "s32"):
            rnd = Random(f"conv {dtype} {i}")
            x, k = rnd.small(dtype, a, -4, 5), rnd.small(dtype, b, -4, 5)
            yield op_case(
                f"conv/{dtype}/{i}", "conv", [x, k], conv(x, k, **options), attrs_of(**options)
            )
    for dtype in FLOATS:
        # Several of the kernel's blocks of tiles, depths and filters.
        for a, b, options in [
            ((1, 40, 9, 10), (3, 40, 3, 3), {}),
            ((2, 2, 30, 21), (17, 2, 2, 2), dict(padding=[(1, 0), (0, 1)])),
            ((1, 3, 700), (13, 3, 5), dict(strides=[2])),
            ((3, 30, 5), (29, 30, 1), {}),
        ]:
            rnd = Random(f"conv large {dtype} {a}")
            x, k = rnd.small(dtype, a, -4, 5), rnd.small(dtype, b, -4, 5)
            yield op_case(
                f"conv/large/{dtype}/{a}",
                "conv",
                [x, k],
                conv(x, k, **options),
                attrs_of(**options),
            )
        rnd = Random(f"conv random {dtype}")
        x, k = rnd.wide(dtype, (1, 7, 8, 9)), rnd.wide(dtype, (3, 7, 3, 3))
        yield op_case(
            f"conv/random/{dtype}",
            "conv",
            [x, k],
            conv(x, k),
            ulp=1,
            abs=1e-4 if dtype == "f32" else 1e-12,
        )
    for dtype in ("c64", "c128"):
        for i, (a, b, options) in list(enumerate(CASES))[1:] + [
            ("depth", ((1, 40, 9, 10), (13, 40, 3, 3), {}))
        ]:
            rnd = Random(f"conv complex {dtype} {i}")
            x, k = (
                Tensor(dtype, s, [complex(*rnd.ints(-4, 5, 2)) for _ in range(size_of(s))])
                for s in (a, b)
            )
            yield op_case(
                f"conv/{dtype}/{i}", "conv", [x, k], conv(x, k, **options), attrs_of(**options)
            )
    x, k = Random("conv mixed").small("f64", (1, 2, 5)), Tensor(
        "c64", (2, 2, 2), [1j * i for i in range(8)]
    )
    yield op_case("conv/mixed complex", "conv", [x, k], conv(x, k))
    x, k = Random("conv mixed").small("u8", (1, 2, 5)), Random("conv mixed").small("f64", (2, 2, 2))
    yield op_case("conv/mixed", "conv", [x, k], conv(x, k))
    x, k = Tensor("f32", (2, 4, 5), [1] * 40), Tensor("f32", (4, 2, 2), [1] * 16)
    for name, operands, attrs, code in [
        ("features", [x, k], {}, "bad_shape"),
        ("rank", [x, Tensor("f32", (4, 2), [1] * 8)], {}, "bad_shape"),
        ("rank 1", [Tensor("f32", (4,), [1] * 4)] * 2, {}, "bad_shape"),
        ("groups", [x, k], {"feature_group_size": 3}, "bad_shape"),
        ("no groups", [x, k], {"feature_group_size": 0}, "bad_attr"),
        ("both groups", [x, k], {"feature_group_size": 2, "batch_group_size": 2}, "bad_attr"),
        (
            "batch groups",
            [x, Tensor("f32", (4, 4, 1), [1] * 16)],
            {"batch_group_size": 3},
            "bad_shape",
        ),
        ("strides", [x, k], {"feature_group_size": 2, "strides": [1, 1]}, "bad_attr"),
        ("stride zero", [x, k], {"feature_group_size": 2, "strides": [0]}, "bad_shape"),
        ("dilation zero", [x, k], {"feature_group_size": 2, "kernel_dilation": [0]}, "bad_shape"),
        (
            "input dilation zero",
            [x, k],
            {"feature_group_size": 2, "input_dilation": [0]},
            "bad_shape",
        ),
        (
            "input dilation huge",
            [x, k],
            {"feature_group_size": 2, "input_dilation": [2**62]},
            "bad_shape",
        ),
        (
            "kernel too large",
            [x, k],
            {"feature_group_size": 2, "kernel_dilation": [5]},
            "bad_shape",
        ),
        ("padding", [x, k], {"feature_group_size": 2, "padding_low": [1, 1]}, "bad_attr"),
        ("permutation", [x, k], {"feature_group_size": 2, "input_permutation": [0, 1]}, "bad_axis"),
        (
            "permutation twice",
            [x, k],
            {"feature_group_size": 2, "kernel_permutation": [0, 1, 1]},
            "bad_axis",
        ),
        (
            "permutation range",
            [x, k],
            {"feature_group_size": 2, "output_permutation": [0, 1, 3]},
            "bad_axis",
        ),
    ]:
        yield op_case(f"conv/bad/{name}", "conv", operands, None, attrs, error=code)
