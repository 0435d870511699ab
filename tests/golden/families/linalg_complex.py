"""Linear algebra of complex numbers; see linalg.py. The convention for what LAPACK leaves open: r's
diagonal has the phases of Nx's reflections, an eigenvector's element of the largest magnitude is
real and
positive."""

import numpy as np
import scipy.linalg

from cases import op_case
from reference import INF, NAN, Tensor, from_array

EPS = {"c64": 2.0**-23, "c128": 2.0**-52}
BATCHES = [(), (3,), (2, 2)]


def close(dtype, scale=1.0):
    return {"ulp": 4, "abs": 64 * EPS[dtype] * scale}


def rounded(dtype, x):
    return np.asarray(x, dtype={"c64": np.complex64, "c128": np.complex128}[dtype]).astype(
        np.complex128
    )


def tensor(dtype, x):
    return from_array(dtype, np.asarray(x, dtype=np.complex128))


def regular(dtype, name, shape):
    generator = np.random.default_rng(list(name.encode()))
    x = generator.uniform(-1, 1, shape) + 1j * generator.uniform(-1, 1, shape)
    if len(shape) > 1:
        n = min(shape[-2:])
        x[..., range(n), range(n)] += 3 - 2j
    return rounded(dtype, x)


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


def batched(f, x, results):
    parts = [f(m) for m in x.reshape((-1,) + x.shape[-2:])]
    return [
        np.array([p[i] for p in parts]).reshape(x.shape[:-2] + np.shape(parts[0][i]))
        for i in range(results)
    ]


def eigh(a):
    w, v = np.linalg.eigh(a)
    order = np.argsort(-np.abs(w), kind="stable")
    v = v[:, order]
    largest = v[np.argmax(np.abs(v), axis=0), range(len(w))]
    return w[order], v * np.conj(largest) / np.abs(largest)


def qr(a):
    m, n = a.shape
    q, r = np.eye(m, dtype=np.complex128), a.copy()
    for i in range(n - 1 if m == n else min(m, n)):
        u = np.where(np.arange(m) < i, 0, r[:, i])
        u[i] += np.exp(1j * np.angle(u[i])) * np.linalg.norm(u)
        u /= np.linalg.norm(u)
        r = r - 2 * np.outer(u, np.conj(u) @ r)
        q = q - 2 * np.outer(q @ u, np.conj(u))
    return q[:, : min(m, n)], np.triu(r)[: min(m, n)]


def cases():
    for dtype in ["c64", "c128"]:
        yield from factorisations(dtype)
        yield from solutions(dtype)
        yield from special(dtype)
    i = 1j
    yield op_case(
        "linalg/complex/nx/cholesky",
        "cholesky",
        [tensor("c64", [[1, -2 * i], [2 * i, 5]])],
        tensor("c64", [[1, 0], [2 * i, 1]]),
    )
    yield op_case(
        "linalg/complex/nx/determinant 3",
        "determinant",
        [tensor("c64", np.diag([1, 2 * i, 3]))],
        tensor("c64", np.array(6 * i)),
    )
    yield op_case(
        "linalg/complex/nx/determinant 4",
        "determinant",
        [tensor("c64", [[0, 0, 0, 1], [0, 2 * i, 0, 0], [0, 0, 3, 0], [1, 0, 0, 0]])],
        tensor("c64", np.array(complex(0, -6))),
    )
    yield op_case(
        "linalg/complex/svd is refused",
        "svd",
        [tensor("c64", np.eye(2))],
        error="bad_dtype",
        results=3,
    )
    mixed = tensor("c64", [[2, i], [-i, 2]])
    b = from_array("f64", np.array([1.0, 2.0]))
    yield op_case(
        "linalg/complex/solve/c64,f64",
        "solve",
        [mixed, b],
        tensor("c128", np.linalg.solve([[2, i], [-i, 2]], [1.0, 2.0])),
        **close("c128"),
    )


def factorisations(dtype):
    for batch in BATCHES:
        for n in [3, 4] if batch else [1, 2, 3, 5, 17]:
            where = f"{dtype}/{batch}/{n}"
            a = regular(dtype, where, batch + (n, n))
            positive, hermitian = rounded(dtype, a @ adjoint(a)), rounded(dtype, a + adjoint(a))
            yield op_case(
                f"linalg/complex/cholesky/{where}",
                "cholesky",
                [tensor(dtype, positive)],
                tensor(dtype, np.linalg.cholesky(positive)),
                **close(dtype, 40),
            )
            p, l, u = batched(scipy.linalg.lu, a, 3)
            yield op_case(
                f"linalg/complex/lu/{where}",
                "lu",
                [tensor(dtype, a)],
                [tensor(dtype, x) for x in (p, l, u)],
                **close(dtype, 40),
            )
            w, v = batched(eigh, hermitian, 2)
            # The vectors, and the position of their largest element, must be well determined.
            sizes = np.sort(np.abs(v), axis=-2)
            clear = n == 1 or (
                np.abs(np.diff(np.sort(w, axis=-1), axis=-1)).min() > 0.05
                and (sizes[..., -1, :] - sizes[..., -2, :]).min() > 1e-3
            )
            if clear:
                yield op_case(
                    f"linalg/complex/eigh/{where}",
                    "eigh",
                    [tensor(dtype, hermitian)],
                    [tensor(dtype, w), tensor(dtype, v)],
                    **close(dtype, 3000),
                )
            yield op_case(
                f"linalg/complex/determinant/{where}",
                "determinant",
                [tensor(dtype, a)],
                tensor(dtype, np.linalg.det(a)),
                **close(dtype, float(np.abs(np.linalg.det(a)).max())),
            )
            yield op_case(
                f"linalg/complex/invert/{where}",
                "invert",
                [tensor(dtype, a)],
                tensor(dtype, np.linalg.inv(a)),
                **close(dtype, 10),
            )
        for m, n in (
            [(3, 2), (2, 3)]
            if batch
            else [(1, 1), (2, 2), (3, 3), (4, 3), (3, 4), (6, 2), (20, 20)]
        ):
            where = f"{dtype}/{batch}/{m}x{n}"
            a = regular(dtype, where, batch + (m, n))
            for mode in ["reduced", "complete"] if m <= n else ["reduced"]:
                q, r = batched(qr, a, 2)
                yield op_case(
                    f"linalg/complex/qr/{mode}/{where}",
                    "qr",
                    [tensor(dtype, a)],
                    [tensor(dtype, q), tensor(dtype, r)],
                    {"mode": mode},
                    **close(dtype, 40),
                )


def solutions(dtype):
    for batch in BATCHES:
        for n, m in (
            [(3, None), (2, 3)] if batch else [(1, None), (3, None), (4, 4), (3, 5), (17, 2)]
        ):
            where = f"{dtype}/{batch}/{n},{m}"
            a = regular(dtype, where, batch + (n, n))
            b = regular(dtype, "b " + where, batch + ((n,) if m is None else (n, m)))
            columns = b[..., None] if m is None else b
            yield op_case(
                f"linalg/complex/solve/{where}",
                "solve",
                [tensor(dtype, a), tensor(dtype, b)],
                tensor(dtype, np.linalg.solve(a, columns).reshape(b.shape)),
                **close(dtype, 10),
            )
            for lower in [True, False] if not batch and n < 5 else [True]:
                for transform in ["none", "transpose", "conjugate"]:
                    for left in [True, False]:
                        t = np.tril(a) if lower else np.triu(a)
                        op = {
                            "none": t,
                            "transpose": np.swapaxes(t, -1, -2),
                            "conjugate": np.conj(t),
                        }[transform]
                        if left:
                            given, x = b, np.linalg.solve(op, columns)
                        elif m is None:
                            given, x = b, np.linalg.solve(np.swapaxes(op, -1, -2), columns)
                        else:
                            given = np.swapaxes(b, -1, -2)
                            x = np.swapaxes(np.linalg.solve(np.swapaxes(op, -1, -2), b), -1, -2)
                        yield op_case(
                            f"linalg/complex/triangular_solve/{where}/{lower},{transform},{left}",
                            "triangular_solve",
                            [tensor(dtype, a), tensor(dtype, given)],
                            tensor(dtype, x.reshape(given.shape)),
                            {"lower": lower, "transform_a": transform, "left_side": left},
                            **close(dtype, 10),
                        )


def special(dtype):
    nan = complex(NAN, NAN)
    for bad in [complex(0, NAN), complex(INF, 0)]:
        a = np.eye(3, dtype=np.complex128)
        a[1, 0] = a[0, 1] = bad
        x, full = tensor(dtype, a), tensor(dtype, np.full((3, 3), nan))
        for op, results in [
            ("cholesky", [full]),
            ("invert", [full]),
            ("qr", [full, full]),
            ("eigh", [tensor(dtype, np.full(3, nan)), full]),
        ]:
            yield op_case(
                f"linalg/complex/{op}/special/{dtype}/{bad}",
                op,
                [x],
                results if len(results) > 1 else full,
            )
    none, vector = Tensor(dtype, (0, 0), []), Tensor(dtype, (0,), [])
    yield op_case(f"linalg/complex/cholesky/empty/{dtype}", "cholesky", [none], none)
    yield op_case(f"linalg/complex/eigh/empty/{dtype}", "eigh", [none], [vector, none])
    yield op_case(
        f"linalg/complex/determinant/empty/{dtype}", "determinant", [none], Tensor(dtype, (), [1])
    )
    yield op_case(
        f"linalg/complex/cholesky/indefinite/{dtype}",
        "cholesky",
        [tensor(dtype, [[1, 2j], [-2j, 1]])],
        error="bad_value",
    )
    yield op_case(
        f"linalg/complex/solve/singular/{dtype}",
        "solve",
        [tensor(dtype, [[0, 0], [1, 1]]), tensor(dtype, [1, 1])],
        error="bad_value",
    )
    yield op_case(
        f"linalg/complex/triangular_solve/singular/{dtype}",
        "triangular_solve",
        [tensor(dtype, [[0, 0], [1, 1]]), tensor(dtype, [1, 1])],
        error="bad_value",
    )
