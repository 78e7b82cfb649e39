"""Ed25519 by the book (RFC 8032), for scripted peers that sign and check: slow, needs nothing installed. Tests only."""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, g, h, f = f - e, d + c, f + e, d - c
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(number, point):
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _add(total, point)
        point = _add(point, point)
        number >>= 1
    return total


def _recover(y, sign):
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P:
        raise ValueError("not on the curve")
    return P - x if x & 1 != sign else x


_Y = 4 * pow(5, P - 2, P) % P
_X = _recover(_Y, 0)
BASE = (_X, _Y, 1, _X * _Y % P)


def _pack(point):
    x, y, z, _ = point
    inverse = pow(z, P - 2, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _unpack(data):
    number = int.from_bytes(data, "little")
    y = number & (1 << 255) - 1
    x = _recover(y, number >> 255)
    return x, y, 1, x * y % P


def _hash(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


class Key:
    def __init__(self, seed):
        digest = hashlib.sha512(seed).digest()
        self.scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.prefix = digest[32:]
        self.public = _pack(_times(self.scalar, BASE))

    def sign(self, message):
        r = _hash(self.prefix, message) % L
        point = _pack(_times(r, BASE))
        return point + ((r + _hash(point, self.public, message) * self.scalar) % L).to_bytes(32, "little")


def verify(public, signature, message):
    scalar = int.from_bytes(signature[32:], "little")
    left = _times(scalar, BASE)
    right = _add(_unpack(signature[:32]), _times(_hash(signature[:32], public, message) % L, _unpack(public)))
    return scalar < L and _pack(left) == _pack(right)
