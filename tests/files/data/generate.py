#!/usr/bin/python3
"""Writes the .npy and .npz files beside it with numpy. The tests know their contents."""
import io
import pathlib
import zipfile

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
MEMBER_TIME = (1980, 1, 1, 0, 0, 0)  # so that the files are the same each time

BOMB_BYTES = 1 << 22
TYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"]


def npy(array, version=(1, 0)):
    out = io.BytesIO()
    np.lib.format.write_array(out, np.asanyarray(array), version=version)
    return out.getvalue()


def npz(name, members, method):
    with zipfile.ZipFile(HERE / name, "w") as archive:
        for member, data in members.items():
            info = zipfile.ZipInfo(member, MEMBER_TIME)
            info.compress_type = method
            # As np.savez does, with sizes in a zip64 field.
            with archive.open(info, "w", force_zip64=True) as out:
                out.write(data)


def every_dtype():
    """Each dtype in both byte orders, in C and in Fortran order: arrays of the same values."""
    arrays = {code: np.arange(6).reshape(2, 3) * 37 + 1 for code in TYPES}
    arrays["f2"] = np.array([[1, -2.5, 2.0 ** -24], [65504, np.inf, -0.0]])
    for code in ("c8", "c16"):
        arrays[code] = np.array([[1 - 2.5j, 1e30j, -0.5], [complex(np.inf, -1), 3j, 0]])
    members = {}
    for code, array in arrays.items():
        for order, word in (("<", "little"), (">", "big")):
            typed = array.astype(order + code)
            members[f"{code}_{word}.npy"] = npy(typed)
            members[f"{code}_{word}_fortran.npy"] = npy(np.asfortranarray(typed))
    truth = np.array([[True, False, True], [False, False, True]])
    members["bool.npy"], members["bool_fortran.npy"] = npy(truth), npy(np.asfortranarray(truth))
    members["bool_as_u1.npy"] = npy(truth.astype("u1"))
    npz("dtypes.npz", members, zipfile.ZIP_STORED)


def bombs(zeros):
    three = npy(np.zeros(3, "u1"))
    lying = three[:-3] + zeros
    # The header declares three bytes; the zip directory has the true size.
    npz("bomb_header.npz", {"x.npy": lying}, zipfile.ZIP_DEFLATED)
    # The zip directory also has the false size.
    npz("bomb_directory.npz", {"x.npy": lying}, zipfile.ZIP_DEFLATED)
    path = HERE / "bomb_directory.npz"
    truth, lie = (len(data).to_bytes(4, "little") for data in (lying, three))
    assert path.read_bytes().count(truth) == 3  # local header, its zip64 field, directory
    path.write_bytes(path.read_bytes().replace(truth, lie))
    # All sizes are true: only the budget refuses the array.
    honest = npy(np.frombuffer(zeros, "u1"))
    npz("bomb_honest.npz", {"x.npy": honest}, zipfile.ZIP_DEFLATED)


def main():
    grid = np.arange(6).reshape(2, 3)
    for code in TYPES:
        for order, word in (("<", "little"), (">", "big")):
            array = (grid * 37 + 1).astype(order + code)
            (HERE / f"{code}_{word}.npy").write_bytes(npy(array))
    others = {
        "f2": np.array([[1, -2.5, 2.0 ** -24], [65504, np.inf, -0.0]], "f2"),
        "c8": np.array([1 - 2.5j, 1e30j], "c8"),
        "c16": np.array([1 - 2.5j, 1e300j], "c16"),
    }
    for code, array in others.items():
        for order, word in (("<", "little"), (">", "big")):
            (HERE / f"{code}_{word}.npy").write_bytes(npy(array.astype(order + code)))
    cube = np.arange(24, dtype="<i4").reshape(2, 3, 4)
    files = {
        "bool": npy(np.array([True, False, True])),
        "scalar": npy(np.float64(2.5)),
        "empty": npy(np.zeros((3, 0, 2), "<f4")),
        "fortran": npy(np.asfortranarray(cube)),
        "fortran_big_endian": npy(np.asfortranarray(cube).astype(">i4", order="F")),
        "version2": npy(cube, (2, 0)),
        "version3": npy(cube, (3, 0)),
        "longdouble": npy(np.zeros(2, "<f16")),
        "fields": npy(np.zeros(2, [("größe", "<f4"), ("y", "<i8")]), (3, 0)),
        "object": npy(np.array([None], object)),
    }
    for name, data in files.items():
        (HERE / f"{name}.npy").write_bytes(data)
    members = {
        "x.npy": npy(cube),
        "y.npy": npy(np.array([1.5, -2.5])),
        "größe.npy": npy(np.asfortranarray(cube)),
    }
    npz("stored.npz", members, zipfile.ZIP_STORED)
    npz("deflated.npz", members, zipfile.ZIP_DEFLATED)
    npz("single.npz", {"only.npy": npy(cube)}, zipfile.ZIP_DEFLATED)
    npz("bzip2.npz", {"only.npy": npy(cube)}, zipfile.ZIP_BZIP2)
    npz("many.npz", {f"a{i}.npy": npy(np.uint8(i)) for i in range(13)}, zipfile.ZIP_STORED)
    every_dtype()
    bombs(bytes(BOMB_BYTES))


if __name__ == "__main__":
    main()
