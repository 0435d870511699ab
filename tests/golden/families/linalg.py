"""Linear algebra. The matrices are well conditioned, so that the tolerance is a few ulps of their
norm. The signs and orders are those that the catalogue states."""

import numpy as np
import scipy.linalg

from cases import op_case
from reference import INF, NAN, Tensor, from_array

EPS = {"f32": 2.0**-23, "f64": 2.0**-52}
BATCHES = [(), (3,), (2, 2)]


def rng(name):
    return np.random.default_rng(list(name.encode()))


def close(dtype, scale=1.0):
    return {"ulp": 4, "abs": 64 * EPS[dtype] * scale}


def rounded(dtype, x):
    return np.asarray(x, dtype={"f32": np.float32, "f64": np.float64}[dtype]).astype(np.float64)


def tensor(dtype, x):
    return from_array(dtype, np.asarray(x))


def regular(dtype, generator, shape):
    """Random, with a strong diagonal."""
    x = generator.uniform(-1, 1, shape)
    n = min(shape[-2:])
    x[..., range(n), range(n)] += 3
    return rounded(dtype, x)


def batched(f, x, results=1):
    """f over the matrices in the last two axes."""
    parts = [f(m) for m in x.reshape((-1,) + x.shape[-2:])]
    if results == 1:
        return np.array(parts).reshape(x.shape[:-2] + np.shape(parts[0]))
    return [
        np.array([p[i] for p in parts]).reshape(x.shape[:-2] + np.shape(parts[0][i]))
        for i in range(results)
    ]


def turn(vector):
    return -vector if vector[np.argmax(np.abs(vector))] < 0 else vector


def eigh(a):
    w, v = np.linalg.eigh(a)
    order = np.argsort(-np.abs(w), kind="stable")
    return w[order], np.array([turn(c) for c in v[:, order].T]).T.reshape(a.shape)


def svd(a, full):
    u, s, vt = np.linalg.svd(a, full_matrices=full)
    for i in range(len(vt)):
        turned = turn(vt[i])
        if i < len(s) and (turned != vt[i]).any():
            u[:, i] = -u[:, i]
        vt[i] = turned
    for j in range(len(s), u.shape[1]):
        u[:, j] = turn(u[:, j])
    return u, s, vt


def qr(a, complete):
    """Householder's method with the steps of Nx.LinAlg.QR, but in f64 and without eps."""
    m, n = a.shape
    q, r = np.eye(m), a.astype(np.float64).copy()
    for i in range(min(m - 1, n)):
        x = r[i:, i].copy()
        tail = x[1:] @ x[1:]
        if tail == 0:
            continue
        norm = np.sqrt(x[0] ** 2 + tail)
        v = x.copy()
        v[0] = x[0] - norm if x[0] <= 0 else -tail / (x[0] + norm)
        h = np.eye(m)
        h[i:, i:] -= 2 / (v @ v) * np.outer(v, v)
        r, q = h @ r, q @ h
        r[i + 1 :, i] = 0
    k = m if complete else min(m, n)
    return q[:, :k], r[:k]


def cases():
    yield from factorisations()
    yield from solutions()
    yield from integers()
    yield from documented()
    yield from special()
    yield from errors()


def factorisations():
    for dtype in ["f32", "f64"]:
        for batch in BATCHES:
            for n in [3, 4] if batch else [1, 2, 3, 5, 17]:
                where = f"{dtype}/{batch}/{n}"
                g = rng(where)
                a = regular(dtype, g, batch + (n, n))
                symmetric = rounded(dtype, a + np.swapaxes(a, -1, -2))
                positive = rounded(dtype, a @ np.swapaxes(a, -1, -2))
                yield op_case(
                    f"linalg/cholesky/{where}",
                    "cholesky",
                    [tensor(dtype, positive)],
                    tensor(dtype, np.linalg.cholesky(positive)),
                    **close(dtype, 30),
                )
                p, l, u = batched(scipy.linalg.lu, a, 3)
                yield op_case(
                    f"linalg/lu/{where}",
                    "lu",
                    [tensor(dtype, a)],
                    [tensor(dtype, x) for x in (p, l, u)],
                    **close(dtype, 30),
                )
                w, v = batched(eigh, symmetric, 2)
                gaps = np.abs(np.diff(np.sort(w, axis=-1), axis=-1))
                if gaps.size == 0 or gaps.min() > 0.01:
                    yield op_case(
                        f"linalg/eigh/{where}",
                        "eigh",
                        [tensor(dtype, symmetric)],
                        [tensor(dtype, w), tensor(dtype, v)],
                        **close(dtype, 3000),
                    )
                yield op_case(
                    f"linalg/determinant/{where}",
                    "determinant",
                    [tensor(dtype, a)],
                    tensor(dtype, np.linalg.det(a)),
                    **close(dtype, float(np.abs(np.linalg.det(a)).max())),
                )
                yield op_case(
                    f"linalg/invert/{where}",
                    "invert",
                    [tensor(dtype, a)],
                    tensor(dtype, np.linalg.inv(a)),
                    **close(dtype, 10),
                )
            for m, n in (
                [(3, 2), (2, 3)]
                if batch
                else [
                    (1, 1),
                    (2, 2),
                    (3, 3),
                    (4, 3),
                    (3, 4),
                    (6, 2),
                    (2, 7),
                    (1, 4),
                    (4, 1),
                    (9, 8),
                    (20, 20),
                ]
            ):
                where = f"{dtype}/{batch}/{m}x{n}"
                g = rng(where)
                a = regular(dtype, g, batch + (m, n))
                for mode in ["reduced", "complete"]:
                    q, r = batched(lambda x: qr(x, mode == "complete"), a, 2)
                    yield op_case(
                        f"linalg/qr/{mode}/{where}",
                        "qr",
                        [tensor(dtype, a)],
                        [tensor(dtype, q), tensor(dtype, r)],
                        {"mode": mode},
                        **close(dtype, 20),
                    )
                for full in [True, False]:
                    if full and abs(m - n) > 1:
                        continue  # there are several solutions
                    u, s, vt = batched(lambda x: svd(x, full), a, 3)
                    if min(m, n) > 1 and np.abs(np.diff(s)).min() < 0.05:
                        continue  # vectors are not well determined
                    yield op_case(
                        f"linalg/svd/{full}/{where}",
                        "svd",
                        [tensor(dtype, a)],
                        [tensor(dtype, x) for x in (u, s, vt)],
                        {"full_matrices": full},
                        **close(dtype, 300),
                    )


def solutions():
    for dtype in ["f32", "f64"]:
        for batch in BATCHES:
            for n, m in (
                [(3, None), (2, 3)] if batch else [(1, None), (3, None), (4, 4), (3, 5), (17, 2)]
            ):
                where = f"{dtype}/{batch}/{n},{m}"
                g = rng(where)
                a = regular(dtype, g, batch + (n, n))
                b = rounded(dtype, g.uniform(-1, 1, batch + ((n,) if m is None else (n, m))))
                columns = b[..., None] if m is None else b
                yield op_case(
                    f"linalg/solve/{where}",
                    "solve",
                    [tensor(dtype, a), tensor(dtype, b)],
                    tensor(dtype, np.linalg.solve(a, columns).reshape(b.shape)),
                    **close(dtype, 10),
                )
                for lower in [True, False]:
                    for transform in ["none", "transpose", "conjugate"]:
                        for left in [True, False]:
                            t = np.tril(a) if lower else np.triu(a)
                            op = np.swapaxes(t, -1, -2) if transform == "transpose" else t
                            if left:
                                given, x = b, np.linalg.solve(op, columns)
                            elif m is None:
                                given = b
                                x = np.linalg.solve(np.swapaxes(op, -1, -2), columns)
                            else:
                                given = np.swapaxes(b, -1, -2)
                                x = np.swapaxes(np.linalg.solve(np.swapaxes(op, -1, -2), b), -1, -2)
                            yield op_case(
                                f"linalg/triangular_solve/{where}/{lower},{transform},{left}",
                                "triangular_solve",
                                [tensor(dtype, a), tensor(dtype, given)],
                                tensor(dtype, x.reshape(given.shape)),
                                {"lower": lower, "transform_a": transform, "left_side": left},
                                **close(dtype, 10),
                            )


def integers():
    a = [[2, 1, 0], [1, 3, 1], [0, 1, 4]]
    for dtype in ["u8", "s32", "s64"]:
        x = from_array(dtype, np.array(a))
        f = np.array(a, dtype=np.float64)
        yield op_case(
            f"linalg/cholesky/{dtype}",
            "cholesky",
            [x],
            tensor("f32", np.linalg.cholesky(f)),
            **close("f32"),
        )
        p, l, u = scipy.linalg.lu(f)
        yield op_case(
            f"linalg/lu/{dtype}",
            "lu",
            [x],
            [from_array(dtype, p.astype(int)), tensor("f32", l), tensor("f32", u)],
            **close("f32"),
        )
        yield op_case(
            f"linalg/determinant/{dtype}", "determinant", [x], tensor("f32", np.array(18.0))
        )
        b = from_array("f64", np.array([1.0, 2.0, 3.0]))
        yield op_case(
            f"linalg/solve/{dtype},f64",
            "solve",
            [x, b],
            tensor("f64", np.linalg.solve(f, [1.0, 2.0, 3.0])),
            **close("f64"),
        )


def documented():
    """The examples of Nx.LinAlg's documentation."""

    def f32(x):
        return tensor("f32", np.array(x, dtype=np.float64))

    yield op_case(
        "linalg/nx/qr/kept sign",
        "qr",
        [f32([[-3, 2, 1], [0, 1, 1], [0, 0, -1]])],
        [f32(np.eye(3)), f32([[-3, 2, 1], [0, 1, 1], [0, 0, -1]])],
    )
    yield op_case(
        "linalg/nx/eigh order",
        "eigh",
        [f32([[2, 5], [5, 6]])],
        [f32([9.3851648, -1.3851648]), f32([[0.56062882, 0.82806723], [0.82806723, -0.56062882]])],
        **close("f32", 8),
    )
    yield op_case(
        "linalg/nx/svd",
        "svd",
        [f32([[2, 0, 0], [0, 3, 0], [0, 0, -1], [0, 0, 0]])],
        [
            f32([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]),
            f32([3, 2, 1]),
            f32([[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
        ],
        **close("f32"),
    )
    yield op_case(
        "linalg/nx/lu",
        "lu",
        [from_array("s32", np.array([[1, 2, 3], [4, 5, 6], [7, 8, 10]]))],
        [
            from_array("s32", np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])),
            *[f32(x) for x in scipy.linalg.lu([[1.0, 2, 3], [4, 5, 6], [7, 8, 10]])[1:]],
        ],
        **close("f32", 8),
    )
    yield op_case(
        "linalg/nx/invert singular",
        "invert",
        [f32([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])],
        f32(np.full((4, 4), NAN)),
    )
    yield op_case(
        "linalg/nx/determinant dependent",
        "determinant",
        [f32([[1, 2, 3], [-1, -2, -3], [4, 5, 6]])],
        f32(np.array(0.0)),
    )
    yield op_case(
        "linalg/nx/determinant 5",
        "determinant",
        [
            f32(
                [
                    [0, 0, 0, 0, -1],
                    [0, 1, 2, 3, 0],
                    [0, 1, -2, 3, 0],
                    [0, 7, 8, 9, 0],
                    [1, 0, 0, 0, 0],
                ]
            )
        ],
        f32(np.array(48.0)),
        **close("f32", 48),
    )


def special():
    for dtype in ["f32", "f64"]:
        for bad in [NAN, INF]:
            a = np.eye(3)
            a[1, 0] = a[0, 1] = bad
            x, nan = tensor(dtype, a), tensor(dtype, np.full((3, 3), NAN))
            line = tensor(dtype, np.full(3, NAN))
            where = f"{dtype}/{bad}"
            yield op_case(f"linalg/cholesky/special/{where}", "cholesky", [x], nan)
            yield op_case(f"linalg/invert/special/{where}", "invert", [x], nan)
            yield op_case(f"linalg/qr/special/{where}", "qr", [x], [nan, nan])
            yield op_case(f"linalg/eigh/special/{where}", "eigh", [x], [line, nan])
            yield op_case(f"linalg/svd/special/{where}", "svd", [x], [nan, line, nan])
        none = Tensor(dtype, (0, 0), [])
        vector = Tensor(dtype, (0,), [])
        yield op_case(f"linalg/cholesky/empty/{dtype}", "cholesky", [none], none)
        yield op_case(f"linalg/invert/empty/{dtype}", "invert", [none], none)
        yield op_case(f"linalg/lu/empty/{dtype}", "lu", [none], [none, none, none])
        yield op_case(f"linalg/eigh/empty/{dtype}", "eigh", [none], [vector, none])
        yield op_case(f"linalg/solve/empty/{dtype}", "solve", [none, vector], vector)
        yield op_case(
            f"linalg/determinant/empty/{dtype}", "determinant", [none], Tensor(dtype, (), [1.0])
        )
        wide = Tensor(dtype, (0, 2), [])
        eye = tensor(dtype, np.eye(2))
        yield op_case(f"linalg/svd/empty/{dtype}", "svd", [wide], [none, vector, eye])
        yield op_case(f"linalg/qr/empty/{dtype}", "qr", [wide], [none, wide])
        tall = Tensor(dtype, (2, 0), [])
        yield op_case(
            f"linalg/qr/empty complete/{dtype}", "qr", [tall], [eye, tall], {"mode": "complete"}
        )
        yield op_case(
            f"linalg/cholesky/no matrices/{dtype}",
            "cholesky",
            [Tensor(dtype, (0, 2, 2), [])],
            Tensor(dtype, (0, 2, 2), []),
        )


def errors():
    def f32(x):
        return tensor("f32", np.array(x, dtype=np.float64))

    vector, wide, square = f32([1, 2, 3]), f32([[1, 2, 3], [4, 5, 6]]), f32([[2, 1], [1, 2]])
    for op, results in [("cholesky", 1), ("lu", 3), ("eigh", 2), ("determinant", 1), ("invert", 1)]:
        yield op_case(f"linalg/error/{op}/vector", op, [vector], error="bad_shape", results=results)
        yield op_case(f"linalg/error/{op}/wide", op, [wide], error="bad_shape", results=results)
    for op, results in [("qr", 2), ("svd", 3)]:
        yield op_case(f"linalg/error/{op}/vector", op, [vector], error="bad_shape", results=results)
    yield op_case(
        "linalg/error/qr/mode", "qr", [wide], attrs={"mode": "full"}, error="bad_attr", results=2
    )
    yield op_case("linalg/error/lu/results", "lu", [square], error="bad_program", results=1)
    yield op_case(
        "linalg/error/cholesky/indefinite", "cholesky", [f32([[1, 2], [2, 1]])], error="bad_value"
    )
    for op in ["solve", "triangular_solve"]:
        yield op_case(f"linalg/error/{op}/shapes", op, [square, vector], error="bad_shape")
        yield op_case(f"linalg/error/{op}/wide", op, [wide, vector], error="bad_shape")
        yield op_case(f"linalg/error/{op}/scalar", op, [square, f32(1)], error="bad_shape")
        yield op_case(
            f"linalg/error/{op}/singular",
            op,
            [f32([[0, 0], [1, 1]]), f32([1, 1])],
            error="bad_value",
        )
    yield op_case(
        "linalg/error/triangular_solve/transform",
        "triangular_solve",
        [square, f32([1, 2])],
        attrs={"transform_a": "other"},
        error="bad_attr",
    )
