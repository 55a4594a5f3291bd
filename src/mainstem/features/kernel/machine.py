"""The compiled register machine: one call runs a whole program of expressions over a batch.

All registers lie in one float64 array. A batch is walked in blocks of requests and chunks of candidates small enough that every
register of a block stays in the cache; steps without candidates run once per block, the others once per chunk. Each step is a
loop over rows whose inside is contiguous; an operand that does not move along a row is first spread over a scratch row, so that
each operation needs one loop only.

An element's bits never depend on its block, chunk, place in a row or neighbours: every operation is elementwise or adds in list
order, without reassociation and without contraction.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

ADD, SUB, MUL, DIV, FLOORDIV, MOD, POW, COPY = range(8)
LT, LE, EQ, NE, AND, OR, LESSER, GREATER, COALESCE, WHERE = range(8, 18)
NEG, NOT, TRUTH, KNOWN, ABS, FLOOR, ROUND, SIGN, SQRT = range(18, 27)
LOG, LOG1P, LOG2, EXP, SIN, COS = range(27, 33)
SUM, MEAN, MAX_OF, MIN_OF, FIRST_VALUE, AT = range(33, 39)
FIRST, RUN, SO_FAR, GAPS = range(39, 43)
DOT, WRITE = 43, 44

_NAMES: Final = (
    *("add", "sub", "mul", "div", "floordiv", "mod", "pow", "copy"),
    *("lt", "le", "eq", "ne", "and", "or", "lesser", "greater", "coalesce", "where"),
    *("neg", "not", "truth", "known", "abs", "floor", "round", "sign", "sqrt"),
    *("log", "log1p", "log2", "exp", "sin", "cos"),
    *("sum", "mean", "max_of", "min_of", "first_value", "at"),
    *("first", "run", "so_far", "gaps"),
    *("dot", "write"),
)
OPS: Final = {name: number for number, name in enumerate(_NAMES)}
"""The number of each machine operation."""

STEP_FIELDS: Final = 7
"""op, immediate, list places (1 without), has candidates, operands, vector width, stage (0 per block, 1 per chunk)."""
PLACE_FIELDS: Final = 6
"""offset, stride per request, per place, per candidate, then what the first request and the first candidate of a chunk add."""

_NAN = math.nan
Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


@njit(cache=True, nogil=True, error_model="numpy")
def _arithmetic(op: int, mem: Numbers, o: int, a: int, b: int, m: int) -> None:
    out, x, y = mem[o : o + m], mem[a : a + m], mem[b : b + m]
    if op == ADD:
        for i in range(m):
            r = x[i] + y[i]
            out[i] = r if r - r == 0.0 else _NAN
    elif op == SUB:
        for i in range(m):
            r = x[i] - y[i]
            out[i] = r if r - r == 0.0 else _NAN
    elif op == MUL:
        for i in range(m):
            r = x[i] * y[i]
            out[i] = r if r - r == 0.0 else _NAN
    elif op == DIV:
        for i in range(m):
            r = x[i] / y[i]
            out[i] = r if r - r == 0.0 else _NAN
    elif op == FLOORDIV:
        for i in range(m):
            r = np.floor(x[i] / y[i])
            out[i] = r if r - r == 0.0 else _NAN
    elif op == MOD:
        for i in range(m):
            r = x[i] - y[i] * np.floor(x[i] / y[i])
            out[i] = r if r - r == 0.0 else _NAN
    elif op == POW:
        for i in range(m):
            r = x[i] ** y[i]
            out[i] = r if r - r == 0.0 else _NAN
    else:
        for i in range(m):
            out[i] = x[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _logic(op: int, mem: Numbers, o: int, a: int, b: int, c: int, m: int) -> None:
    out, x, y = mem[o : o + m], mem[a : a + m], mem[b : b + m]
    if op == LT:
        for i in range(m):
            out[i] = 1.0 if x[i] < y[i] else 0.0
    elif op == LE:
        for i in range(m):
            out[i] = 1.0 if x[i] <= y[i] else 0.0
    elif op == EQ:
        for i in range(m):
            out[i] = 1.0 if x[i] == y[i] else 0.0
    elif op == NE:
        for i in range(m):
            out[i] = 1.0 if (x[i] < y[i]) | (x[i] > y[i]) else 0.0
    elif op == AND:
        for i in range(m):
            out[i] = 1.0 if (abs(x[i]) > 0.0) & (abs(y[i]) > 0.0) else 0.0
    elif op == OR:
        for i in range(m):
            out[i] = 1.0 if (abs(x[i]) > 0.0) | (abs(y[i]) > 0.0) else 0.0
    elif op == LESSER:
        for i in range(m):
            out[i] = x[i] if (x[i] < y[i]) | (x[i] != x[i]) else y[i]
    elif op == GREATER:
        for i in range(m):
            out[i] = x[i] if (x[i] > y[i]) | (x[i] != x[i]) else y[i]
    elif op == COALESCE:
        for i in range(m):
            out[i] = x[i] if x[i] == x[i] else y[i]
    else:
        z = mem[c : c + m]
        for i in range(m):
            out[i] = y[i] if abs(x[i]) > 0.0 else z[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _unary(op: int, mem: Numbers, o: int, a: int, m: int) -> None:
    out, x = mem[o : o + m], mem[a : a + m]
    if op == NEG:
        for i in range(m):
            out[i] = -x[i]
    elif op == NOT:
        for i in range(m):
            out[i] = 0.0 if abs(x[i]) > 0.0 else 1.0
    elif op == TRUTH:
        for i in range(m):
            out[i] = 1.0 if abs(x[i]) > 0.0 else 0.0
    elif op == KNOWN:
        for i in range(m):
            out[i] = 1.0 if x[i] == x[i] else 0.0
    elif op == ABS:
        for i in range(m):
            out[i] = abs(x[i])
    elif op == FLOOR:
        for i in range(m):
            out[i] = np.floor(x[i])
    elif op == ROUND:
        for i in range(m):
            out[i] = np.rint(x[i])
    elif op == SIGN:
        for i in range(m):
            s = 1.0 if x[i] > 0.0 else (-1.0 if x[i] < 0.0 else 0.0)
            out[i] = s if x[i] == x[i] else _NAN
    else:
        for i in range(m):
            out[i] = np.sqrt(x[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _scalar(op: int, x: float) -> float:
    """One call of the C library's function: the same bits wherever in a row the number stands."""
    if op == LOG:
        return math.log(x)
    if op == LOG1P:
        return math.log1p(x)
    if op == LOG2:
        return math.log2(x)
    if op == EXP:
        return math.exp(x)
    if op == SIN:
        return math.sin(x)
    return math.cos(x)


@njit(cache=True, nogil=True, error_model="numpy")
def _row(op: int, mem: Numbers, o: int, a: int, b: int, c: int, m: int) -> None:
    if op <= COPY:
        _arithmetic(op, mem, o, a, b, m)
    elif op <= WHERE:
        _logic(op, mem, o, a, b, c, m)
    elif op <= SQRT:
        _unary(op, mem, o, a, m)
    else:
        for i in range(m):
            r = _scalar(op, mem[a + i])
            mem[o + i] = r if r - r == 0.0 else _NAN


@njit(cache=True, nogil=True, error_model="numpy")
def _flatten(dims: Ints, at: Ints, used: int) -> None:
    """Joins the dimensions that lie behind one another for every operand, so that rows become long.

    Args:
        dims: Requests, places, candidates; changed in place so that the last is the row.
        at: Per operand: offset, then the strides of the three dimensions (two more rows are scratch).
        used: Operands, the result included.
    """
    for outer in (1, 0):
        if outer == 0 and dims[1] != 1:
            return
        if outer == 0:
            dims[1] = dims[0]
            dims[0] = 1
            for p in range(used):
                at[p, 2] = at[p, 1]
                at[p, 1] = 0
        whole = True
        for p in range(used):
            step = at[p, 2]
            fits = step == 1 or (step == 0 and p > 0)
            whole = whole and (fits if dims[2] == 1 else step == dims[2] * at[p, 3])
        if dims[2] == 1 and whole:
            dims[2] = dims[1]
            dims[1] = 1
            for p in range(used):
                at[p, 3] = at[p, 2]
                at[p, 2] = 0
        elif whole:
            dims[2] *= dims[1]
            dims[1] = 1


@njit(cache=True, nogil=True, error_model="numpy")
def _elementwise(op: int, mem: Numbers, dims: Ints, at: Ints, used: int, scratch: int, room: int) -> None:
    _flatten(dims, at, used)
    m = dims[2]
    row, spread = at[4], at[5]
    spread[:] = -1
    for i in range(dims[0]):
        for j in range(dims[1]):
            for p in range(used):
                place = at[p, 0] + i * at[p, 1] + j * at[p, 2]
                if p > 0 and at[p, 3] == 0 and m > 1:
                    own = scratch + (p - 1) * room
                    if spread[p] != place:
                        mem[own : own + m] = mem[place]
                        spread[p] = place
                    place = own
                row[p] = place
            _row(op, mem, row[0], row[1], row[2], row[3], m)


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_places(op: int, mem: Numbers, a: int, step: int, places: int, which: int) -> float:
    """What does a list reduce to, where there is one value per place?"""
    total, count, best = 0.0, 0.0, _NAN
    if op == AT:
        return mem[a + which * step] if which < places else _NAN
    if op <= MEAN:
        for k in range(places):
            x = mem[a + k * step]
            total += x if x == x else 0.0
            count += 1.0 if x == x else 0.0
        r = total if op == SUM else total / count
        return r if r - r == 0.0 else _NAN
    for k in range(places):
        x = mem[a + k * step]
        if x == x and (best != best or (op == MAX_OF and x > best) or (op == MIN_OF and x < best)):
            best = x
            if op == FIRST_VALUE:
                break
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_row(op: int, mem: Numbers, o: int, a: int, counts: int, m: int) -> None:
    """Takes one more place into the running result of a row of candidates."""
    out, x, n = mem[o : o + m], mem[a : a + m], mem[counts : counts + m]
    if op == SUM:
        for i in range(m):
            out[i] += x[i] if x[i] == x[i] else 0.0
    elif op == MEAN:
        for i in range(m):
            out[i] += x[i] if x[i] == x[i] else 0.0
            n[i] += 1.0 if x[i] == x[i] else 0.0
    elif op == MAX_OF:
        for i in range(m):
            out[i] = x[i] if (x[i] > out[i]) | (out[i] != out[i]) else out[i]
    elif op == MIN_OF:
        for i in range(m):
            out[i] = x[i] if (x[i] < out[i]) | (out[i] != out[i]) else out[i]
    else:
        for i in range(m):
            out[i] = x[i] if out[i] != out[i] else out[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_rows(op: int, mem: Numbers, o: int, a: int, step: int, places: int, which: int, counts: int, m: int) -> None:
    out = mem[o : o + m]
    if op == AT:
        out[:] = _NAN
        if which < places:
            out[:] = mem[a + which * step : a + which * step + m]
        return
    out[:] = 0.0 if op <= MEAN else _NAN
    mem[counts : counts + m] = 0.0
    for k in range(places):
        _fold_row(op, mem, o, a + k * step, counts, m)
    if op <= MEAN:
        n = mem[counts : counts + m]
        for i in range(m):
            r = out[i] / n[i] if op == MEAN else out[i]
            out[i] = r if r - r == 0.0 else _NAN


@njit(cache=True, nogil=True, error_model="numpy")
def _reduce(op: int, mem: Numbers, dims: Ints, at: Ints, which: int, scratch: int) -> None:
    for i in range(dims[0]):
        o, a = at[0, 0] + i * at[0, 1], at[1, 0] + i * at[1, 1]
        if dims[2] == 1:
            mem[o] = _fold_places(op, mem, a, at[1, 2], dims[1], which)
        else:
            _fold_rows(op, mem, o, a, at[1, 2], dims[1], which, scratch, dims[2])


@njit(cache=True, nogil=True, error_model="numpy")
def _scan_one(op: int, mem: Numbers, o: int, a: int, out_step: int, step: int, places: int, which: int) -> None:
    total, last, holds = 0.0, 0.0, 1.0
    for k in range(places):
        x = mem[a + k * step]
        r = x
        if op == FIRST:
            r = x if k < which else _NAN
        elif op == RUN:
            holds = holds if abs(x) > 0.0 else 0.0
            r = holds
        elif op == SO_FAR:
            total += x if x == x else 0.0
            r = total if x == x and total - total == 0.0 else _NAN
        elif k > 0:
            r = x - last
            r = r if r - r == 0.0 else _NAN
        last = x
        mem[o + k * out_step] = r


@njit(cache=True, nogil=True, error_model="numpy")
def _scan(op: int, mem: Numbers, dims: Ints, at: Ints, which: int) -> None:
    for i in range(dims[0]):
        for j in range(dims[2]):
            o = at[0, 0] + i * at[0, 1] + j * at[0, 3]
            a = at[1, 0] + i * at[1, 1] + j * at[1, 3]
            _scan_one(op, mem, o, a, at[0, 2], at[1, 2], dims[1], which)


@njit(cache=True, nogil=True, error_model="numpy")
def _dot_one(mem: Numbers, a: int, b: int, width: int) -> float:
    total = 0.0
    for d in range(width):
        total += mem[a + d] * mem[b + d]
    return total if total - total == 0.0 else _NAN


@njit(cache=True, nogil=True, error_model="numpy")
def _dots(mem: Numbers, o: int, os: int, a: int, step: int, b: int, bs: int, width: int, count: int) -> None:
    """Products of pairs that lie at steps: four sums side by side, each in its own order."""
    whole = count - count % 4
    for p in range(0, whole, 4):
        t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
        x, y = a + p * step, b + p * bs
        for d in range(width):
            t0 += mem[x + d] * mem[y + d]
            t1 += mem[x + step + d] * mem[y + bs + d]
            t2 += mem[x + 2 * step + d] * mem[y + 2 * bs + d]
            t3 += mem[x + 3 * step + d] * mem[y + 3 * bs + d]
        mem[o + p * os] = t0 if t0 - t0 == 0.0 else _NAN
        mem[o + (p + 1) * os] = t1 if t1 - t1 == 0.0 else _NAN
        mem[o + (p + 2) * os] = t2 if t2 - t2 == 0.0 else _NAN
        mem[o + (p + 3) * os] = t3 if t3 - t3 == 0.0 else _NAN
    for p in range(whole, count):
        mem[o + p * os] = _dot_one(mem, a + p * step, b + p * bs, width)


@njit(cache=True, nogil=True, error_model="numpy")
def _turn(mem: Numbers, scratch: int, a: int, step: int, width: int, m: int) -> None:
    for j in range(m):
        for d in range(width):
            mem[scratch + d * m + j] = mem[a + j * step + d]


@njit(cache=True, nogil=True, error_model="numpy")
def _dot_row(mem: Numbers, o: int, turned: int, other: int, width: int, m: int) -> None:
    out = mem[o : o + m]
    out[:] = 0.0
    whole = width - width % 4
    for d in range(0, whole, 4):  # four at a time, still added one after the other
        x0, x1 = mem[turned + d * m : turned + (d + 1) * m], mem[turned + (d + 1) * m : turned + (d + 2) * m]
        x2, x3 = mem[turned + (d + 2) * m : turned + (d + 3) * m], mem[turned + (d + 3) * m : turned + (d + 4) * m]
        y0, y1, y2, y3 = mem[other + d], mem[other + d + 1], mem[other + d + 2], mem[other + d + 3]
        for i in range(m):
            out[i] = out[i] + y0 * x0[i] + y1 * x1[i] + y2 * x2[i] + y3 * x3[i]
    for d in range(whole, width):
        x, y = mem[turned + d * m : turned + d * m + m], mem[other + d]
        for i in range(m):
            out[i] += y * x[i]
    for i in range(m):
        out[i] = out[i] if out[i] - out[i] == 0.0 else _NAN


@njit(cache=True, nogil=True, error_model="numpy")
def _dot(mem: Numbers, dims: Ints, at: Ints, width: int, turned: int) -> None:
    """Products of vectors, summed over the width in its order; candidates side by side where one operand does not have them."""
    one = at[1, 3] == 0
    many, few = (2, 1) if one else (1, 2)
    if dims[2] > 1 and at[few, 3] == 0 and at[many, 2] == 0:
        for i in range(dims[0]):
            _turn(mem, turned, at[many, 0] + i * at[many, 1], at[many, 3], width, dims[2])
            for k in range(dims[1]):
                other = at[few, 0] + i * at[few, 1] + k * at[few, 2]
                _dot_row(mem, at[0, 0] + i * at[0, 1] + k * at[0, 2], turned, other, width, dims[2])
        return
    run = 1 if dims[2] == 1 else 2
    for i in range(dims[0]):
        for j in range(dims[3 - run]):
            o = at[0, 0] + i * at[0, 1] + j * at[0, 4 - run]
            a = at[1, 0] + i * at[1, 1] + j * at[1, 4 - run]
            b = at[2, 0] + i * at[2, 1] + j * at[2, 4 - run]
            _dots(mem, o, at[0, 1 + run], a, at[1, 1 + run], b, at[2, 1 + run], width, dims[run])


@njit(cache=True, nogil=True, error_model="numpy")
def _write(mem: Numbers, dims: Ints, at: Ints, out: Numbers, narrow: NDArray[np.float32]) -> None:
    """Copies one result into its column of a matrix with rows as offset and strides of the first operand say."""
    wide = len(out) > 0
    for i in range(dims[0]):
        for j in range(dims[2]):
            o = at[0, 0] + i * at[0, 1] + j * at[0, 3]
            x = mem[at[1, 0] + i * at[1, 1] + j * at[1, 3]]
            if wide:
                out[o] = x if x - x == 0.0 else _NAN
            else:
                y = np.float32(x)
                narrow[o] = y if y - y == np.float32(0.0) else np.float32(_NAN)


@njit(cache=True, nogil=True, error_model="numpy")
def _step(
    step: Ints, places: Ints, mem: Numbers, dims: Ints, at: Ints, first: Ints, scratch: Ints, outs: tuple[Numbers, Numbers],
    narrows: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:  # fmt: skip
    op, used = step[0], step[4]
    dims[1] = step[2]
    if step[3] == 0:
        dims[2] = 1
    for p in range(used):
        at[p, 0] = places[p, 0] + first[0] * places[p, 4] + first[1] * places[p, 5]
        for q in range(1, 4):
            at[p, q] = places[p, q]
    if op <= COS:
        _elementwise(op, mem, dims, at, used, scratch[0], scratch[1])
    elif op <= AT:
        _reduce(op, mem, dims, at, step[1], scratch[0])
    elif op <= GAPS:
        _scan(op, mem, dims, at, step[1])
    elif op == DOT:
        _dot(mem, dims, at, step[5], scratch[2])
    elif step[3] == 0:
        _write(mem, dims, at, outs[0], narrows[0])
    else:
        _write(mem, dims, at, outs[1], narrows[1])


@njit(cache=True, nogil=True, error_model="numpy")
def execute(
    steps: Ints, places: Ints, mem: Numbers, sizes: Ints, scratch: Ints, outs: tuple[Numbers, Numbers],
    narrows: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:  # fmt: skip
    """Runs a program over a batch.

    Args:
        steps: ``[steps, STEP_FIELDS]``; those of stage 0 first.
        places: ``[steps, 4, PLACE_FIELDS]``: where the result and up to three operands lie.
        mem: All registers.
        sizes: Requests, candidates, requests per block, candidates per chunk, steps of stage 0.
        scratch: Offset of the three scratch rows, room of each, offset of the room for turned vectors.
        outs: Flat float64 matrices for results per request and per candidate; empty where `narrows` is used.
        narrows: The same in float32.
    """
    dims, at, first = np.zeros(3, np.int64), np.zeros((6, 4), np.int64), np.zeros(2, np.int64)
    requests, candidates, block, chunk, split = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    for b in range(0, requests, block):
        first[0], first[1] = b, 0
        for s in range(split):
            dims[0], dims[2] = min(block, requests - b), 1
            _step(steps[s], places[s], mem, dims, at, first, scratch, outs, narrows)
        if split == len(steps):
            continue
        for j in range(0, candidates, chunk):
            first[1] = j
            for s in range(split, len(steps)):
                dims[0], dims[2] = min(block, requests - b), min(chunk, candidates - j)
                _step(steps[s], places[s], mem, dims, at, first, scratch, outs, narrows)
